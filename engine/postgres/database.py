"""Connections and transactions of the control path, over asyncpg.

The driver's errors become the engine's own (`translated_errors`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from time import monotonic
from types import TracebackType
from typing import Literal, Protocol

import asyncpg

from revalue.engine.core.tasks import Task
from revalue.engine.errors import DatabaseUnavailableError, UsageError, WriteConflictError
from revalue.engine.postgres.driver_errors import engine_error, unreachable
from revalue.engine.postgres.statement import Connection, name_of

LOCK_SECONDS = 300
"""How long a command waits for a lock, by default: for another load, for example."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the engine's errors instead of the driver's errors (see driver_errors)."""
    try:
        yield
    except asyncpg.InvalidCachedStatementError as error:
        # The driver forgets its plans at this error: the statement may succeed when it is repeated.
        raise WriteConflictError(f"the schema was changed under a statement: {error}") from error
    except asyncpg.PostgresError as error:
        message = error.args[0] + (f" ({error.detail})" if error.detail else "")
        raise engine_error(
            error.sqlstate,
            message,
            hint=error.hint,
            statement=name_of(getattr(error, "query", None)),
        ) from error
    except asyncpg.ClientConfigurationError as error:
        raise UsageError(f"the database's address cannot be used: {error}") from error
    except (
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # the connection was cut in the middle of a statement
    ) as error:
        raise unreachable(str(error)) from error
    except OSError as error:
        if error.filename is not None:  # of a file, not of a connection
            raise
        raise unreachable(str(error) or type(error).__name__) from error


@contextmanager
def _misuse_told(connection: Connection) -> Iterator[None]:
    """Tell a wrong use of the driver as such: a lost connection is told by the same class."""
    try:
        yield
    except asyncpg.InterfaceError as error:
        if connection.is_closed():
            raise
        raise RuntimeError(f"asyncpg was used in a way that it refuses: {error}") from error


Isolation = Literal["read_committed", "repeatable_read", "serializable"]


async def require_access(url: str) -> None:
    """Connect and disconnect.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        AccessDeniedError: it refuses this user, or has no such database.
        UsageError: the address cannot be used.
    """
    with translated_errors():
        connection = await asyncpg.connect(url, timeout=30)
        await connection.close(timeout=30)


class Connections(Protocol):
    """Gives connections and transactions: of a pool (Database), or of one open transaction."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Give a connection for the duration of the block."""

    def transaction(
        self, *, isolation: Isolation = "read_committed", readonly: bool = False
    ) -> AbstractAsyncContextManager[Connection]:
        """Give a connection inside of a transaction: committed when the block ends, rolled back
        when it raises."""


class Database:
    """A small pool of asyncpg connections to one database.

    Open it in the process and event loop that uses it.
    """

    def __init__(self, pool: asyncpg.Pool, url: str) -> None:
        self._pool = pool
        self._taken_at: dict[int, float] = {}
        self.url = url

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        connections: int = 4,
        application: str = "revalue",
        lock_seconds: float = LOCK_SECONDS,
    ) -> "Database":
        """Open a pool of at most `connections` connections; the first one is opened now.

        Args:
            application: the application_name of its database sessions.
            lock_seconds: longest wait for a lock that another session holds; then the transaction
                ends with WriteConflictError.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            AccessDeniedError: it refuses this user, or has no such database.
            UsageError: the address cannot be used.
        """
        with translated_errors():
            pool = await asyncpg.create_pool(
                url,
                # A pool with a minimum reconnects by itself while the server is down, and logs each
                # failure.
                min_size=0,
                max_size=connections,
                # Plan for the values at hand: the same statement updates one position or 100,000.
                server_settings={
                    "application_name": application,
                    "jit": "off",
                    "plan_cache_mode": "force_custom_plan",
                    "lock_timeout": str(max(1, round(lock_seconds * 1000))),
                },
                timeout=30,
            )
            async with pool.acquire():
                pass
        return cls(pool, url)

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, also those in use."""
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give a connection without a transaction."""
        async with self._taken() as connection:
            yield connection

    def taken_for(self, seconds: float) -> list[int]:
        """Return the server's pids of the connections that have been in use for so long."""
        return [pid for pid, since in self._taken_at.items() if monotonic() - since >= seconds]

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Connection]:
        """Take a connection out of the pool for the duration of the block."""
        try:
            with translated_errors():
                async with self._pool.acquire() as connection:
                    pid = connection.get_server_pid()
                    self._taken_at[pid] = monotonic()
                    try:
                        with _misuse_told(connection):
                            yield connection
                    finally:
                        del self._taken_at[pid]
        except DatabaseUnavailableError:
            # What happened to one connection has often happened to all: a failover, a server that
            # is read-only for those that were opened at that time.
            await self._pool.expire_connections()
            raise

    @asynccontextmanager
    async def listening(
        self, channel: str, hear: Callable[[], None]
    ) -> AsyncIterator[asyncio.Event]:
        """Call `hear` for every NOTIFY of the channel, on a connection outside of the pool.

        Yields:
            An event that is set when the connection is lost.
        """
        lost = asyncio.Event()
        with translated_errors():
            connection = await asyncpg.connect(
                self.url, timeout=30, server_settings={"application_name": "revalue listener"}
            )
            try:
                connection.add_termination_listener(lambda _: lost.set())
                await connection.add_listener(channel, lambda *_: hear())
                yield lost
            finally:
                connection.terminate()

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """Give a transaction: committed when the block ends, rolled back when it raises."""
        async with (
            self._taken() as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            yield connection


class OpenTransaction:
    """Connections whose every transaction is the one that is already open on a connection.

    What runs on it is committed or rolled back together with that transaction. It makes no
    savepoints, so that all rows have the transaction's own id (xmin).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give the connection of the open transaction."""
        yield self._connection

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """Give the open transaction; its isolation is what it was opened with."""
        yield self._connection


async def avoid_nested_loops(connection: Connection, task: Task) -> None:
    """Disable nested loops for this transaction if the task's ids are dense.

    Statistics lag behind new jobs, so the planner would do one index lookup per position, which
    doubles the time.
    """
    await connection.execute(f"SET LOCAL enable_nestloop = {'off' if task.is_dense else 'on'}")
