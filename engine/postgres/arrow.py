"""The data path: PostgreSQL -> Arrow -> polars, and polars -> Arrow -> binary COPY.

ADBC reads; pgpq encodes and asyncpg writes.
"""

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
# SQLSTATE classes of errors that the data causes (data exceptions, corrupted rows): they repeat
# whenever the same rows are read.
_CAUSED_BY_DATA = ("22", "XX")

_SESSION_OPTIONS = (
    "-c default_transaction_isolation=repeatable\\ read",
    "-c default_transaction_read_only=on",
    "-c jit=off",
    # As many processes read at the same time as there are cores: parallel workers would compete.
    "-c max_parallel_workers_per_gather=0",
)


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
        return pl.DataFrame(pl.from_arrow(_with_storage_types(self._cursor.fetch_arrow_table())))


class ArrowReader:
    """Reads over one ADBC connection, which stays open. Calls block.

    Each snapshot is one read-only, repeatable-read transaction.
    """

    def __init__(self, url: str) -> None:
        options = quote(" ".join(_SESSION_OPTIONS))
        self._url = f"{url}{'&' if '?' in url else '?'}options={options}"
        self._connection: adbc.Connection | None = None

    @contextmanager
    def snapshot(self) -> Iterator[ArrowSnapshot]:
        """Open a block whose reads all see the same state of the database.

        A broken connection is dropped; the next call opens another.

        Raises:
            DatabaseUnavailableError: the database cannot be read.
            adbc_driver_manager.Error: the contents of the rows cannot be read.
        """
        try:
            if self._connection is None:
                self._connection = adbc.connect(self._url)
            with self._connection.cursor() as cursor:
                yield ArrowSnapshot(cursor)
            self._connection.rollback()
        except AdbcError as error:
            self.close()
            if (error.sqlstate or "").startswith(_CAUSED_BY_DATA):
                raise
            # The driver's message ends with the whole statement, which can list every position of
            # a task.
            message = str(error).partition("\nQuery was:")[0].strip()
            raise DatabaseUnavailableError(f"reading from PostgreSQL failed: {message}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except AdbcError:
                return  # it was already broken: nothing is left to close


def _with_storage_types(table: pa.Table) -> pa.Table:
    """Return the table with ADBC's opaque columns (numeric, enums) as their storage type: text."""
    for index, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            column = pa.chunked_array(
                [chunk.storage for chunk in table.column(index).chunks], field.type.storage_type
            )
            table = table.set_column(index, field.name, column)
    return table.replace_schema_metadata(None)


def encode_binary_copy(frame: pl.DataFrame) -> list[bytes]:
    """Encode the frame as PostgreSQL's binary COPY stream, in chunks. Decimals stay exact."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = ArrowToPostgresBinaryEncoder(table.schema)
    chunks = [encoder.write_header()]
    chunks += [
        encoder.write_batch(batch) for batch in table.to_batches(max_chunksize=_COPY_CHUNK_ROWS)
    ]
    chunks.append(encoder.finish())
    return chunks


async def copy_frame(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    """Append the frame to the table; columns are matched by name."""
    await copy_encoded(connection, table, frame.columns, encode_binary_copy(frame))


async def copy_encoded(
    connection: Connection, table: str, columns: list[str], chunks: list[bytes]
) -> None:
    """Append rows that were encoded before, so that the transaction is short.

    Args:
        columns: the names of the encoded columns, in their order.
        chunks: the result of `encode_binary_copy`.
    """
    Statement.sent += 1

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    await connection.copy_to_table(table, columns=columns, source=stream(), format="binary")
