"""The data path: PostgreSQL -> Arrow -> polars by ADBC, and polars -> Arrow -> binary COPY by pgpq and asyncpg."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError
from pgpq import ArrowToPostgresBinaryEncoder

from revalue.engine.errors import DatabaseUnavailableError
from revalue.engine.postgres.statement import Connection, Literal, Statement

_COPY_CHUNK_ROWS = 10_000
_OF_THE_DATA = (
    "22",
    "XX",
)  # SQLSTATE: data exceptions and corrupted rows, met again whenever they are read


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

    def __init__(self, cursor: adbc.Cursor) -> None:
        self._cursor = cursor

    def read(self, statement: Statement, **values: Literal) -> pl.DataFrame:
        """Return the rows of a SELECT in PostgreSQL's types; numerics are exact text to cast."""
        self._cursor.execute(statement.rendered(**values))
        return pl.DataFrame(pl.from_arrow(_plain(self._cursor.fetch_arrow_table())))


class ArrowReader:
    """One ADBC connection, kept open; every snapshot is a repeatable-read, read-only transaction. Blocking calls."""

    def __init__(self, url: str) -> None:
        options = "-c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on -c jit=off "
        # The processes that read at the same time are as many as there are cores: workers would take theirs.
        options += "-c max_parallel_workers_per_gather=0"
        self._url = f"{url}{'&' if '?' in url else '?'}options={quote(options)}"
        self._connection: adbc.Connection | None = None

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A block whose reads see one moment. A broken connection is dropped and opened anew by the next call.

        Raises DatabaseUnavailableError, and adbc's own error where rows cannot be read for what is in them.
        """
        try:
            if self._connection is None:
                self._connection = adbc.connect(self._url)
            with self._connection.cursor() as cursor:
                yield ArrowSnapshot(cursor)
            self._connection.rollback()
        except AdbcError as error:
            self.close()
            if (error.sqlstate or "").startswith(_OF_THE_DATA):
                raise
            # The driver's message ends with the whole statement, and that can hold every position of a task.
            message = str(error).partition("\nQuery was:")[0].strip()
            raise DatabaseUnavailableError(f"reading from PostgreSQL failed: {message}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except AdbcError:
                return  # it was broken already: nothing is left to close


def _plain(table: pa.Table) -> pa.Table:
    """The table with ADBC's opaque columns (numeric, enums) as what they are stored in: text."""
    for index, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            column = pa.chunked_array(
                [chunk.storage for chunk in table.column(index).chunks], field.type.storage_type
            )
            table = table.set_column(index, field.name, column)
    return table.replace_schema_metadata(None)


def encode_binary_copy(frame: pl.DataFrame) -> list[bytes]:
    """The frame as PostgreSQL's binary COPY stream, in chunks. Decimals stay exact."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = ArrowToPostgresBinaryEncoder(table.schema)
    chunks = [encoder.write_header()]
    chunks += [
        encoder.write_batch(batch) for batch in table.to_batches(max_chunksize=_COPY_CHUNK_ROWS)
    ]
    chunks.append(encoder.finish())
    return chunks


async def copy_frame(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    """Appends the frame to the table; columns are matched by name."""
    await copy_encoded(connection, table, frame.columns, encode_binary_copy(frame))


async def copy_encoded(
    connection: Connection, table: str, columns: list[str], chunks: list[bytes]
) -> None:
    """Appends rows that were encoded before, for a transaction that should be short."""

    Statement.sent += 1

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    await connection.copy_to_table(table, columns=columns, source=stream(), format="binary")
