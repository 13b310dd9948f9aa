"""Read from PostgreSQL into Arrow and polars, by ADBC."""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Thread
from typing import Concatenate, NoReturn, ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_manager import Error as AdbcError

from revalue.engine.errors import DatabaseSetupError, WriteConflictError
from revalue.engine.postgres.address import libpq_address
from revalue.engine.postgres.blockers import Blocker
from revalue.engine.postgres.database import ANSWER_SECONDS, LOCK_SECONDS, require_access
from revalue.engine.postgres.driver_errors import (
    STARTUP_REFUSED,
    engine_error,
    error_of_libpq,
    unreachable,
)
from revalue.engine.postgres.opening import Session
from revalue.engine.postgres.statement import Literal, Statement, statements
from revalue.engine.postgres.witness import LOST, Awaited, Use, Witness

sql = statements(__package__)

P = ParamSpec("P")
T = TypeVar("T")

# How the driver tells that a connection cannot be opened or is lost: there is no SQLSTATE then.
_LOST = (
    AdbcStatusCode.IO,
    AdbcStatusCode.CANCELLED,
    AdbcStatusCode.TIMEOUT,
    AdbcStatusCode.UNKNOWN,
    AdbcStatusCode.INVALID_STATE,
)

# When it connects, the driver compares names of types and functions with what the server writes
# without quotes.
_UNQUOTED = "-c quote_all_identifiers=off"

_connections: WeakValueDictionary[str, adbc.Connection] = WeakValueDictionary()
"""The last connection to an address that was opened in this process, while it lives."""

_awaited: ContextVar[Awaited | None] = ContextVar("awaited", default=None)
"""Notes that a read of this thread awaits an answer."""


class Snapshot(Protocol):
    """Reads that all see the same state of the database."""

    def read(self, statement: Statement, **values: Literal) -> pl.DataFrame:
        """Return the rows of a SELECT in PostgreSQL's types; numerics are exact text to cast."""


class Reader(Protocol):
    """Reads frames from one database. Calls block, so they run outside of the event loop."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a block whose reads all see the same state of the database."""


class ArrowSnapshot:
    """The snapshot of one ADBC transaction."""

    def __init__(self, cursor: adbc.Cursor, awaited: Awaited) -> None:
        self._cursor = cursor
        self._awaited = awaited

    def read(self, statement: Statement, **values: Literal) -> pl.DataFrame:
        """Return the rows of a SELECT in PostgreSQL's types; numerics are exact text to cast."""
        query = statement.rendered(**values)
        try:
            with self._awaited.answer():
                self._cursor.execute(query)
                table = self._cursor.fetch_arrow_table()
        except AdbcError as error:
            _raise_translated(error, statement.name)
        return pl.DataFrame(pl.from_arrow(_with_storage_types(table)))


class ArrowReader:
    """Reads over one ADBC connection, which stays open. Calls block.

    Each snapshot is one read-only, repeatable-read transaction.
    """

    def __init__(
        self,
        url: str,
        *,
        lock_seconds: float = LOCK_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Create a reader; it connects when it reads.

        Args:
            lock_seconds: longest wait for a table that another session has locked.
            answer_seconds: longest time that `run` waits.
        """
        self._address = url
        self._url = libpq_address(url, [_UNQUOTED])
        self._lock_milliseconds = max(1, round(lock_seconds * 1000))
        self._answer_seconds = answer_seconds
        self._witness = Witness(url, patience=lock_seconds, tells=False)
        # That nothing uses at present.
        self._connection: tuple[adbc.Connection, Session] | None = None
        self._generation = 0  # connections of an older one are closed after use

    async def run(
        self, work: Callable[Concatenate["ArrowReader", P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run reads, `work(reader, ...)`, in a thread of their own, and return their result.

        The driver has no time limit, and a read that waits for an answer cannot be ended. It is
        left behind then with its thread and connection, and ends with them.

        Raises:
            DatabaseUnavailableError: there was no answer in time, or it was lost.
            WriteConflictError: another session has locked a table for too long.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        awaited = Awaited()

        def finish(outcome: Callable[[], None]) -> None:
            if not result.done():
                outcome()

        def lose() -> None:
            finish(partial(result.set_exception, unreachable(LOST)))
            self.close()

        def read() -> None:
            _awaited.set(awaited)
            try:
                found = work(self, *args, **kwargs)
            except BaseException as error:
                outcome = partial(result.set_exception, error)
            else:
                outcome = partial(result.set_result, found)
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(finish, outcome)

        Thread(target=copy_context().run, args=(read,), name="revalue reader", daemon=True).start()
        use = Use(awaited, lose)
        self._witness.begin(use)
        try:
            await asyncio.wait([result], timeout=self._answer_seconds)
            if result.done():
                return result.result()
        except WriteConflictError as error:
            raise use.named(error) from error
        finally:
            self._witness.end(use)
            if not result.done():
                self.close()
                result.cancel()
        raise unreachable(f"a read was not answered for {self._answer_seconds:g} s")

    def blockers(self) -> list[Blocker]:
        """Return who holds locks for which a read waits at present."""
        return self._witness.blockers()

    @contextmanager
    def snapshot(self) -> Iterator[ArrowSnapshot]:
        """Open a block whose reads all see the same state of the database.

        A broken connection is dropped; the next call opens another.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached, or ended the connection.
            DataFaultError: the contents of the rows cannot be read.
            DatabaseSetupError: a table, a column or a right is missing.
        """
        generation = self._generation
        opened, self._connection = self._connection, None
        awaited = _awaited.get() or Awaited()
        try:
            opened = opened or self._connect()
            connection, awaited.session = opened
            with connection.cursor() as cursor:
                yield ArrowSnapshot(cursor, awaited)
            with awaited.answer():
                connection.rollback()
            if self._generation == generation and self._connection is None:
                self._connection, opened = opened, None
        except AdbcError as error:
            _raise_translated(error)
        finally:
            if opened is not None:
                _close(opened[0])

    def _connect(self) -> tuple[adbc.Connection, Session]:
        begin = sql("begin_reading").rendered(lock_milliseconds=self._lock_milliseconds)
        try:
            connection = self._connected()
            with connection.cursor() as cursor:
                cursor.execute(begin)
                row = cursor.fetchone()
            assert row is not None
            connection.commit()  # rolled back, the session would have its old parameters
        except AdbcError as error:
            # This driver does not give the SQLSTATE of a refused connection, the other one does.
            with ThreadPoolExecutor(1) as thread:  # this one may run an event loop
                thread.submit(asyncio.run, require_access(self._address)).result()
            _raise_translated(error)
        pid, began, quotes, *_ = row
        if quotes:
            _close(connection)
            raise DatabaseSetupError(
                "quote_all_identifiers is on, and the connection pooler does not let revalue turn "
                "it off: ALTER DATABASE ... SET quote_all_identifiers = off"
            )
        return connection, Session(pid, began)

    def _connected(self) -> adbc.Connection:
        """Connect, without options if they are refused, as by PgBouncer."""
        try:
            return _connected(self._url)
        except AdbcError as error:
            without = libpq_address(self._address, [])
            if STARTUP_REFUSED not in str(error) or self._url == without:
                raise
            self._url = without
            return _connected(self._url)

    def close(self) -> None:
        """Close the connection, if there is one. One that is in use is closed after its use."""
        self._generation += 1
        opened, self._connection = self._connection, None
        if opened is not None:
            _close(opened[0])


def _connected(address: str) -> adbc.Connection:
    """Connect: with what the driver knows by an open connection to this address, if there is one.

    Of a database of which it knows nothing, the driver reads all types first, by a connection of
    its own. That takes far longer than to connect.
    """
    connection = None
    if (known := _connections.get(address)) is not None:
        with suppress(adbc.ProgrammingError):  # it has been closed since
            connection = known.adbc_clone()
    if connection is None:
        connection = adbc.connect(address)
    _connections[address] = connection
    return connection


def _close(connection: adbc.Connection) -> None:
    # It may be broken: then nothing is left to close. Or another is made of it at this moment,
    # which needs what both have in common.
    with suppress(AdbcError, RuntimeError):
        connection.close()


def _raise_translated(error: AdbcError, statement: str | None = None) -> NoReturn:
    """Raise the engine's error for an error of PostgreSQL; raise one of the driver as it is."""
    if error.sqlstate:
        # The text goes on with the place in the statement, and the statement: every position of a
        # task may be in it.
        message = re.split(r"\nLINE |\n\nQuery was:|\s+SQLSTATE:", str(error))[0].strip()
        raise engine_error(error.sqlstate, message, statement=statement) from error
    if error.status_code in _LOST:
        raise error_of_libpq(str(error).strip()) from error
    raise error


def _with_storage_types(table: pa.Table) -> pa.Table:
    """Return the table with ADBC's opaque columns (numeric, enums) as their storage type: text."""
    for index, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            column = pa.chunked_array(
                [chunk.storage for chunk in table.column(index).chunks], field.type.storage_type
            )
            table = table.set_column(index, field.name, column)
    return table.replace_schema_metadata(None)
