"""Keep the lake fast to read: few files, each of one month, with the rows of closed months.

Each step makes new files, and replaces in one transaction what they were made of: before it readers
see the old files (or the rows in PostgreSQL), after it the new ones, and each row once. A step that
dies leaves files that nothing refers to. No step of the protocol changes or reads what is replaced,
so maintenance and a scheduler do not wait for each other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import cast

import polars as pl

from revalue.engine.core.date_ranges import months
from revalue.engine.core.valuation import SNAPSHOT_COLUMNS
from revalue.engine.errors import AccessDeniedError, WriteConflictError
from revalue.engine.fault_injection import fault_point
from revalue.engine.lake.files import RecordedFile, StoredFile, recorded_files
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.parquet import MERGED_SCHEMA, VALUED_AT, in_blocks
from revalue.engine.lake.snapshot_rows import in_core_types, require_once
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.transaction_reader import read_frame

sql = statements(__package__)

MERGED_ROWS = 2_000_000
"""The approximate number of rows of a merged file: 60 MB, and 1 GB of memory to make it."""

LEAST_MOVED = 10_000
"""The least number of rows of a month in PostgreSQL that are moved into a file."""

_FILES_OF_LAST_MONTH = 8
"""The month that still grows is merged when it has so many small files; other months at two."""

_STEP_SECONDS = 1800.0
_VALUED_US = "valued_us"
_MONTH = attrgetter("month")


@dataclass
class Maintained:
    """What a maintenance has done.

    Attributes:
        files_merged: files that were replaced; files_made: files that were made.
        rows_moved: rows that were in PostgreSQL and are in files now.
        rows_dropped: superseded rows that nobody can ask for since the retention floor.
    """

    files_merged: int = 0
    files_made: int = 0
    rows_moved: int = 0
    rows_dropped: int = 0


OnStep = Callable[[Maintained], None]


async def maintain(
    database: Database,
    *,
    merged_rows: int = MERGED_ROWS,
    least_moved: int = LEAST_MOVED,
    on_step: OnStep = lambda _: None,
) -> Maintained:
    """Move rows of closed months out of PostgreSQL, and merge small files into one for each month.

    Each step is a transaction, so it can end after any of them and be run again.

    Args:
        merged_rows: about how many rows of a month are one file.
        least_moved: rows of a month are moved if PostgreSQL has at least this many.
        on_step: called after each step. What it raises ends the maintenance.

    Raises:
        NotFoundError: the database has no lake.
        DatabaseSetupError: it is a copy of the database that made the lake.
        AccessDeniedError: the user is not the owner of the tables.
        WriteConflictError: another maintenance or a prune is at work. What was done stays so.
        TransientError: the lake cannot be reached now.
    """
    done = Maintained()
    async with database.connection() as connection:
        await Lake.writable(connection)
        if not await sql("may_maintain").value(connection):
            raise AccessDeniedError(
                "to maintain the lake is for the owner of the tables, the user that migrates the "
                "schema"
            )
        in_table = await sql("rows_by_month").fetch(connection)
    for month in in_table:
        if month["rows"] >= least_moved:
            positions = month["first_position"], month["last_position"]
            for first, last in _ranges(*positions, month["rows"], merged_rows):
                await _move(database, month["month"], first, last, done)
                on_step(done)
    while await _merge_next(database, merged_rows, done):
        on_step(done)
    return done


def _ranges(first: int, last: int, rows: int, merged_rows: int) -> Iterator[tuple[int, int]]:
    """Cut a range of positions with `rows` rows into ranges of about `merged_rows` rows each."""
    parts = -(-rows // merged_rows)
    size = -(-(last - first + 1) // parts)
    for begin in range(first, last + 1, size):
        yield begin, min(begin + size - 1, last)


async def _move(
    database: Database, month: date, first_position: int, last_position: int, done: Maintained
) -> None:
    """Move the rows of some positions and one month from PostgreSQL into a file."""
    [(first_date, last_date)] = months(month, month)
    given: dict[str, date | int] = {
        "first_date": first_date,
        "last_date": last_date,
        "first_position": first_position,
        "last_position": last_position,
    }
    async with _step(database) as (connection, lake):
        rows = await read_frame(connection, sql("rows_to_move").rendered(**given))
        if rows.is_empty():
            return
        times = pl.col(_VALUED_US).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        rows = in_core_types(rows).with_columns(times.alias(VALUED_AT)).drop(_VALUED_US)
        await _record(connection, await asyncio.to_thread(_stored, lake, rows, "moved"))
        if await sql("delete_moved").execute(connection, **given) != len(rows):
            raise WriteConflictError("rows were deleted while they were moved: run it again")
        fault_point("maintain.recorded")
    done.rows_moved += len(rows)
    done.files_made += 1


async def _merge_next(database: Database, merged_rows: int, done: Maintained) -> bool:
    """Merge one group of files; return whether there was one."""
    async with _step(database) as (connection, lake):
        files = await recorded_files(connection)
        floor = await sql("floor").value(connection)
        group = _next_group(files, merged_rows, floor)
        if not group:
            return False
        epochs = await read_frame(connection, sql("epochs_at_floor").text)
        made, dropped = await asyncio.to_thread(_merged, lake, group, epochs, floor)
        for each in made:
            await _record(connection, each, floor)
        paths = [file.path for file in group]
        if await sql("replace_files").execute(connection, paths=paths) != len(paths):
            raise WriteConflictError("files were replaced while they were merged: run it again")
        fault_point("maintain.recorded")
    done.files_merged += len(group)
    done.files_made += len(made)
    done.rows_dropped += dropped
    return True


@asynccontextmanager
async def _step(database: Database) -> AsyncIterator[tuple[Connection, Lake]]:
    """Give a transaction that sees one state of the database and excludes other maintenance."""
    async with database.transaction(
        isolation="repeatable_read", seconds=_STEP_SECONDS
    ) as connection:
        if not await sql("take_maintenance").value(connection):
            raise WriteConflictError("another maintenance of the lake is at work: wait for its end")
        yield connection, await Lake.writable(connection)


def _next_group(
    files: list[RecordedFile], merged_rows: int, floor: datetime | None
) -> list[RecordedFile]:
    """Return files to merge: first those of several months, then small ones of one month, then
    those of a month from which nothing was left out since the retention floor was raised."""
    of_several = [file for file in files if not file.is_of_one_month]
    if of_several:
        return _up_to(of_several, merged_rows)
    small = [file for file in files if file.row_count < merged_rows // 2]
    newest = max((file.month for file in files), default=None)
    for month, of_month in groupby(sorted(small, key=_MONTH), key=_MONTH):
        group = _up_to(list(of_month), merged_rows)
        if len(group) >= (_FILES_OF_LAST_MONTH if month == newest else 2):
            return group
    if floor is not None:
        corrected = [file for file in files if file.max_epoch and file.is_merged]
        for _, of_month in groupby(sorted(corrected, key=_MONTH), key=_MONTH):
            group = list(of_month)
            if any(file.floor is None or file.floor < floor for file in group):
                return group
    return []


def _up_to(files: list[RecordedFile], rows: int) -> list[RecordedFile]:
    """Return the first files that together have no more than `rows` rows; at least one."""
    group: list[RecordedFile] = []
    for file in files:
        rows -= file.row_count
        if group and rows < 0:
            break
        group.append(file)
    return group


def _merged(
    lake: Lake, group: list[RecordedFile], epochs: pl.DataFrame, floor: datetime | None
) -> tuple[list[tuple[StoredFile, datetime | None]], int]:
    """Store the rows of files anew, a file for each month.

    Returns:
        The files with the time of the first commit in them, and how many rows were left out.
    """
    rows = pl.concat([_dated(lake, file) for file in group])
    require_once(rows)
    kept = rows if floor is None else _without_superseded(rows, epochs, floor)
    by_month = kept.with_columns(month=pl.col("date").dt.truncate("1mo")).partition_by(
        "month", include_key=False
    )
    return [_stored(lake, part, "merged") for part in by_month], len(rows) - len(kept)


def _dated(lake: Lake, file: RecordedFile) -> pl.DataFrame:
    """Return the rows of a file. They are compared with what was stored: a merged file has no other
    bytes to compare with later."""
    rows = lake.whole(file.path, file.sha256)
    if not file.is_merged:
        valued_at = pl.lit(file.valued_at).cast(pl.Datetime("us", "UTC"))
        rows = rows.with_columns(valued_at.alias(VALUED_AT))
    return in_core_types(rows.select(*SNAPSHOT_COLUMNS, VALUED_AT))


def _without_superseded(rows: pl.DataFrame, epochs: pl.DataFrame, floor: datetime) -> pl.DataFrame:
    """Leave out rows beside a later one that was published and committed at the retention floor.

    Whoever asks about the floor or later takes the later one: see engine/operate/prune.
    """
    # A published epoch gets rows of new dates only, so this never leaves out a row by itself
    # (docs/protocol-check.md). It makes the rule true of any rows, and costs nothing.
    was_known = pl.col(VALUED_AT).is_null() | (pl.col(VALUED_AT) <= floor)
    later = (
        rows.join(epochs, on="position_id")
        .filter(was_known, pl.col("epoch") <= pl.col("published_epoch"))
        .group_by("position_id", "date")
        .agg(later=pl.col("epoch").max())
    )
    return (
        rows.join(later, on=["position_id", "date"], how="left", maintain_order="left")
        .filter(pl.col("later").is_null() | (pl.col("epoch") >= pl.col("later")))
        .drop("later")
    )


def _stored(lake: Lake, rows: pl.DataFrame, name: str) -> tuple[StoredFile, datetime | None]:
    """Store rows for readers; return the file, and when its first row was committed."""
    stored = lake.store(in_blocks(rows), name, MERGED_SCHEMA)
    fault_point("maintain.stored")
    first = None if rows[VALUED_AT].null_count() else rows[VALUED_AT].min()
    return stored, cast("datetime | None", first)


async def _record(
    connection: Connection,
    stored: tuple[StoredFile, datetime | None],
    floor: datetime | None = None,
) -> None:
    file, valued_from = stored
    await sql("record_merged").execute(
        connection, **file.recorded, valued_from=valued_from, floor=floor
    )
