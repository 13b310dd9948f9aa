"""The temporary table `incoming`: rows that the database has to compare with what is stored."""

from collections.abc import Iterator
from types import TracebackType

import polars as pl

from revalue.engine.correct.inputs.parsing import Column
from revalue.engine.postgres.bulk_copy import copy_frames
from revalue.engine.postgres.statement import Connection


class InTheWayError(Exception):
    """Rows cannot be written directly into the tables: they have to go through `incoming`."""


class Incoming:
    """The table, for the duration of the block: the transaction may go on, and load more."""

    def __init__(self, connection: Connection, columns: tuple[Column, ...]) -> None:
        """Describe the table.

        Args:
            connection: in the transaction of the load.
            columns: those of the input.
        """
        self._connection = connection
        self._columns = columns

    async def __aenter__(self) -> "Incoming":
        typed = ", ".join(f"{column.name} {column.sql_type}" for column in self._columns)
        await self._connection.execute(
            f"CREATE TEMP TABLE incoming (row_no bigint, {typed}, repeated_key text) ON COMMIT DROP"
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self._connection.execute("DROP TABLE incoming")

    async def copy(self, frames: Iterator[pl.DataFrame]) -> None:
        """Append frames, of which there is at most one without rows.

        Args:
            frames: the columns of the input and row_no, the number of the row in it; if there is
                repeated_key, it is the key of a row that has one before.
        """
        names = ["row_no", *(column.name for column in self._columns)]
        first = next(frames, None)
        if first is None:
            return
        names += ["repeated_key"] if "repeated_key" in first.columns else []

        def ordered() -> Iterator[pl.DataFrame]:
            yield first.select(names)
            for frame in frames:
                yield frame.select(names)

        await copy_frames(self._connection, "incoming", names, ordered())

    async def analyze(self) -> None:
        """Take the statistics of the table, for the plans of what reads it."""
        await self._connection.execute("ANALYZE incoming")
