"""Connections and transactions of the control path, over asyncpg."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Literal, Protocol

import asyncpg

from revalue.engine.errors import (
    DatabaseUnavailableError,
    StatementCancelledError,
    WriteConflictError,
)
from revalue.engine.postgres.address import asyncpg_address
from revalue.engine.postgres.asyncpg_errors import translated_errors, translated_misuse
from revalue.engine.postgres.blockers import Blocker
from revalue.engine.postgres.driver_errors import unreachable
from revalue.engine.postgres.liveness import CONNECT_SECONDS
from revalue.engine.postgres.opening import (
    Session,
    begin_session,
    connect,
    connected,
    require_own_session,
)
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.witness import (
    LOST,
    Awaited,
    AwaitedConnection,
    Use,
    Witness,
)

LOCK_SECONDS = 300
"""How long a command waits for a lock, by default: for another load, for example."""

ANSWER_SECONDS = 4 * 3600
"""How long one use of a connection may take, by default: the load of a large file, for example."""

SHORT_SECONDS = 30
"""How long statements may take that read or write a few rows."""

sql = statements(__package__)

_CHECK_SECONDS = 30.0

Isolation = Literal["read_committed", "repeatable_read", "serializable"]


async def require_access(url: str) -> None:
    """Connect and disconnect.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        AccessDeniedError: it refuses this user, or has no such database.
        UsageError: the address cannot be used.
    """
    with translated_errors():
        connection = await connected(asyncpg_address(url), timeout=CONNECT_SECONDS)
        await connection.close(timeout=SHORT_SECONDS)


class Connections(Protocol):
    """Gives connections and transactions: of a pool (Database), or of one open transaction."""

    def connection(
        self, *, seconds: float | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        """Give a connection for the duration of the block.

        Args:
            seconds: after this time the server is considered lost. None: a generous default.
        """

    def transaction(
        self,
        *,
        isolation: Isolation = "read_committed",
        readonly: bool = False,
        seconds: float | None = None,
    ) -> AbstractAsyncContextManager[Connection]:
        """Give a connection inside of a transaction: committed when the block ends, rolled back
        when it raises.

        Args:
            isolation: the isolation level.
            readonly: the transaction writes nothing.
            seconds: as for `connection`.
        """


class _Limit:
    """Closes a connection when its time is over, or when its answer is lost.

    Attributes:
        reason: why it was closed, or None.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self.reason: str | None = None

    def begin(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        reason = f"it has not answered for {self._seconds:g} s"
        self._timer = loop.call_later(self._seconds, self.close, connection, reason)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def close(self, connection: Connection, reason: str) -> None:
        self.reason = reason
        connection.terminate()


async def _prepare(
    settings: Mapping[str, str], connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Prepare a new connection of the pool."""
    assert isinstance(connection, AwaitedConnection)
    connection.awaited.session = await begin_session(connection, settings)


def _awaited_of(connection: Connection) -> Awaited:
    awaited: Awaited = connection.awaited  # type: ignore[attr-defined]  # see AwaitedConnection
    return awaited


def session_of(connection: Connection) -> Session | None:
    """Return the database session of a connection of the pool.

    A connection pooler tells the driver another pid than that of the session.
    """
    return _awaited_of(connection).session


async def _check(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a connection that only listens as soon as it no longer answers."""
    while not connection.is_closed():
        await asyncio.sleep(_CHECK_SECONDS)
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await connection.fetchval(sql("is_alive").text)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection.terminate()


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


class Database:
    """A small pool of asyncpg connections to one database.

    Open it in the process and event loop that uses it.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        url: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        witness: Witness | None = None,
    ) -> None:
        self._pool = pool
        self._answer_seconds = answer_seconds
        self._witness = witness or Witness(url)
        self.url = url

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        connections: int = 4,
        application: str = "revalue",
        lock_seconds: float = LOCK_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        statement_seconds: float | None = None,
        tells_of_locks: bool = True,
    ) -> "Database":
        """Open a pool of at most `connections` connections; the first one is opened now.

        Args:
            application: the application_name of its database sessions.
            lock_seconds: longest wait for a lock that another session holds; then the transaction
                ends with WriteConflictError.
            answer_seconds: longest use of a connection; after it the server is considered lost.
            statement_seconds: the server ends a statement that takes longer. None: as the server
                is set.
            tells_of_locks: log a warning when something waits for a lock for longer than a second.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            AccessDeniedError: it refuses this user, or has no such database.
            DatabaseSetupError: a connection pooler gives sessions to others between transactions.
            UsageError: the address cannot be used.
        """
        # Plan for the values at hand: the same statement updates one position or 100,000.
        settings = {
            "jit": "off",
            "plan_cache_mode": "force_custom_plan",
            "lock_timeout": _milliseconds(lock_seconds),
        }
        if statement_seconds is not None:
            settings["statement_timeout"] = _milliseconds(statement_seconds)
        with translated_errors():
            pool = await asyncpg.create_pool(
                asyncpg_address(url),
                # A pool with a minimum reconnects by itself while the server is down, and logs each
                # failure.
                min_size=0,
                max_size=connections,
                server_settings={"application_name": application},
                connect=connected,
                connection_class=AwaitedConnection,
                init=partial(_prepare, settings),
                timeout=CONNECT_SECONDS,
            )
            async with pool.acquire() as connection:
                session = session_of(connection)
                assert session is not None
                await require_own_session(url, connection, session)
        patience = min(lock_seconds, statement_seconds or lock_seconds)
        witness = Witness(url, patience=patience, tells=tells_of_locks)
        return cls(pool, url, answer_seconds=answer_seconds, witness=witness)

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
        self._witness.close()
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self, *, seconds: float | None = None) -> AsyncIterator[Connection]:
        """Give a connection without a transaction."""
        async with self._taken(seconds) as connection:
            yield connection

    def blockers(self) -> list[Blocker]:
        """Return who holds locks for which connections of this pool wait at present."""
        return self._witness.blockers()

    @asynccontextmanager
    async def _taken(self, seconds: float | None) -> AsyncIterator[Connection]:
        """Take a connection out of the pool for the duration of the block.

        When its time is over it is closed, whatever it waits for: a statement, its rollback, or the
        reset by which the pool takes it back. So it is when its answer is lost.
        """
        limit = _Limit(self._answer_seconds if seconds is None else seconds)
        use: Use | None = None
        try:
            with translated_errors():
                async with self._pool.acquire() as connection:
                    limit.begin(connection)
                    use = Use(_awaited_of(connection), partial(limit.close, connection, LOST))
                    self._witness.begin(use)
                    with translated_misuse(connection):
                        yield connection
        except DatabaseUnavailableError as error:
            # What happened to one connection has often happened to all: a failover, a server that
            # is read-only for those that were opened at that time.
            await self._pool.expire_connections()
            if limit.reason is not None:
                raise unreachable(limit.reason) from error
            raise
        except (WriteConflictError, StatementCancelledError) as error:
            if use is None:
                raise
            raise use.named(error) from error
        finally:
            limit.end()
            if use is not None:
                self._witness.end(use)

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
            connection = await connect(self.url, application="revalue listener")
            checking: asyncio.Task[None] | None = None
            try:
                connection.add_termination_listener(lambda _: lost.set())
                await connection.add_listener(channel, lambda *_: hear())
                checking = asyncio.create_task(_check(connection))
                yield lost
            finally:
                if checking is not None:
                    checking.cancel()
                connection.terminate()

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = "read_committed",
        readonly: bool = False,
        seconds: float | None = None,
    ) -> AsyncIterator[Connection]:
        """Give a transaction: committed when the block ends, rolled back when it raises."""
        async with (
            self._taken(seconds) as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            yield connection
