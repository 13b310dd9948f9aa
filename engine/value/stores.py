"""Where the snapshots of an attempt are stored: in PostgreSQL, or as a file of the lake."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from revalue.engine.core.valuation import SNAPSHOT_COLUMNS
from revalue.engine.lake.files import StoredFile, record
from revalue.engine.lake.lake import Lake
from revalue.engine.postgres.bulk_copy import copy_encoded, encode_binary_copy
from revalue.engine.postgres.statement import Connection


class PreparedRows(Protocol):
    """Rows of which all is done that needs no transaction.

    count: number of rows.
    """

    @property
    def count(self) -> int: ...

    async def write(self, connection: Connection) -> None:
        """Make them part of the open transaction."""


class SnapshotStore(Protocol):
    """Stores the snapshots of attempts."""

    async def prepare(self, rows: pl.DataFrame, task_id: int) -> PreparedRows:
        """Do all that can be done before the transaction.

        Args:
            rows: SNAPSHOT_COLUMNS, sorted by date and position_id; or no row and no columns.
            task_id: of the attempt.

        Raises:
            TransientError: the store cannot be reached now; nothing is visible of it.
        """


@dataclass(frozen=True)
class _CopiedRows:
    """Rows for COPY."""

    count: int
    encoded: list[list[bytes]]

    async def write(self, connection: Connection) -> None:
        for chunks in self.encoded:
            await copy_encoded(
                connection, "daily_position_snapshots", list(SNAPSHOT_COLUMNS), chunks
            )


@dataclass(frozen=True)
class _RecordedFile:
    """Rows in a file that is stored. If the transaction is not committed, nothing refers to it."""

    file: StoredFile

    @property
    def count(self) -> int:
        return self.file.row_count

    async def write(self, connection: Connection) -> None:
        await record(connection, self.file)


class PostgresStore:
    """Copies the rows into daily_position_snapshots."""

    async def prepare(self, rows: pl.DataFrame, task_id: int) -> PreparedRows:
        """See SnapshotStore."""
        return _CopiedRows(len(rows), encode_snapshots(rows))


POSTGRESQL = PostgresStore()


class LakeStore:
    """Stores many rows as a file of the lake, and few in PostgreSQL."""

    def __init__(self, lake: Lake, *, least_rows: int) -> None:
        """Use a lake.

        Args:
            lake: opened on this machine.
            least_rows: an attempt with fewer rows writes no file: a file costs the same for one row
                as for thousands.
        """
        self._lake = lake
        self._least_rows = least_rows

    async def prepare(self, rows: pl.DataFrame, task_id: int) -> PreparedRows:
        """See SnapshotStore."""
        if len(rows) < max(1, self._least_rows):
            return await POSTGRESQL.prepare(rows, task_id)
        return _RecordedFile(await asyncio.to_thread(self._lake.store, [rows], str(task_id)))


def encode_snapshots(rows: pl.DataFrame) -> list[list[bytes]]:
    """Encode snapshot rows for COPY, those of each month by themselves.

    A COPY that opens more than a few partitions takes a third longer: the server then has more
    pages and relations at hand than it can find without a hash table.

    Args:
        rows: sorted by date.
    """
    if rows.is_empty():
        return []
    sizes = rows["date"].dt.month_start().rle().struct.field("len")
    firsts = sizes.cum_sum() - sizes
    return [
        encode_binary_copy(rows.slice(first, size))
        for first, size in zip(firsts, sizes, strict=True)
    ]
