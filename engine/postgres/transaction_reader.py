"""Read frames inside of an open transaction, whose uncommitted rows no other connection sees."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import polars as pl

from revalue.engine.postgres.statement import Connection, Literal, Statement

_TYPES: dict[str, pl.DataType] = {
    "int2": pl.Int16(),
    "int4": pl.Int32(),
    "int8": pl.Int64(),
    "date": pl.Date(),
}


async def read_frame(connection: Connection, query: str, *arguments: Any) -> pl.DataFrame:
    """Return the rows of a SELECT with $n parameters, in the types that ArrowReader gives.

    Integers, dates and booleans have their own types; all else, numerics too, is exact text.
    """
    prepared = await connection.prepare(query)
    attributes = prepared.get_attributes()
    schema = {column.name: _TYPES.get(column.type.name, pl.String()) for column in attributes}
    text = BytesIO()
    await connection.copy_from_query(query, *arguments, output=text, format="csv", header=True)
    text.seek(0)
    flags = [column.name for column in attributes if column.type.name == "bool"]
    # In a thread: parsing a million rows would hold up the event loop.
    rows = await asyncio.to_thread(pl.read_csv, text, schema=schema)
    return rows.with_columns(pl.col(name) == "t" for name in flags)


class TransactionReader:
    """Reads as the open transaction of a connection sees the database.

    Make it in the connection's event loop; use its snapshots from other threads while that loop
    runs, one read at a time.
    """

    def __init__(self, connection: Connection) -> None:
        self._snapshot = TransactionSnapshot(connection, asyncio.get_running_loop())

    @contextmanager
    def snapshot(self) -> "Iterator[TransactionSnapshot]":
        """Give the open transaction's own view."""
        yield self._snapshot


class TransactionSnapshot:
    """The state that an open transaction sees, with its own uncommitted rows."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop

    def read(self, statement: Statement, **values: Literal) -> pl.DataFrame:
        """Return the rows of a SELECT in PostgreSQL's types; numerics are exact text to cast."""
        rows = read_frame(self._connection, statement.rendered(**values))
        return asyncio.run_coroutine_threadsafe(rows, self._loop).result()
