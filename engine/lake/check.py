"""Check the lake (every file is there, every row once), and delete files that nothing needs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import polars as pl

from revalue.engine.core.date_ranges import months
from revalue.engine.errors import LakeFaultError, NotFoundError, UsageError, WriteConflictError
from revalue.engine.lake.files import RecordedFile, recorded_files
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.snapshot_rows import KEY
from revalue.engine.lake.storage import LakeFile
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.transaction_reader import read_frame

sql = statements(__package__)

LEAST_AGE = timedelta(hours=6)
"""A file that is younger is never swept. One that was stored an hour ago is never recorded any more
(LONGEST_UNRECORDED_SECONDS): the rest is for clocks that differ."""

_CHECK_SECONDS = 24 * 3600.0
_TWICE_SHOWN = 5
_DAY = ["position_id", "date"]


@dataclass(frozen=True)
class LakeSummary:
    """What is recorded of the lake.

    Attributes:
        address: the folder, or s3://bucket/prefix.
        is_own: whether this database owns it; False: it is a copy of the one that does.
        files: number of files that are recorded; rows, bytes: what they have.
        first_date: the first date of a row; None: there is no row. last_date: the last one.
    """

    address: str
    is_own: bool
    files: int
    rows: int
    bytes: int
    first_date: date | None
    last_date: date | None


@dataclass
class LakeCheck:
    """What a check of the lake has found.

    Attributes:
        files: number of files that are recorded; rows: of the rows in them that were read.
        missing: files that are recorded and not there, or have another size than recorded.
        damaged: files that have other bytes than when they were stored.
        orphans: files that are there and not recorded.
        twice: number of rows that are stored more than once, in the lake or in PostgreSQL too.
        examples: some of them, in words.
    """

    files: int = 0
    rows: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    orphans: list[LakeFile] = field(default_factory=list)
    twice: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong. Orphans are not wrong: nothing refers to them."""
        return not (self.missing or self.damaged or self.twice)


async def summary(database: Database) -> LakeSummary:
    """Return what is recorded of the lake.

    Raises:
        NotFoundError: the database has no lake.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        row = await sql("known_lake").row(connection)
        if row is None:
            raise NotFoundError(
                "this database has no lake: `revalue value` makes one when REVALUE_LAKE is set"
            )
        found = await sql("summary").one(connection)
    return LakeSummary(address=row["address"], is_own=row["is_own"], **found)


async def check(
    database: Database, on_progress: Callable[[float], None] = lambda _: None
) -> LakeCheck:
    """Read every file, and compare what is there with what is recorded.

    Args:
        on_progress: called with the fraction that is done.

    Raises:
        NotFoundError: the database has no lake.
        TransientError: the lake cannot be reached now.
    """
    found = LakeCheck()
    async with database.transaction(
        isolation="repeatable_read", readonly=True, seconds=_CHECK_SECONDS
    ) as connection:
        lake = await Lake.existing(connection)
        recorded = await recorded_files(connection)
        found.files = len(recorded)
        stored = {file.path: file for file in await asyncio.to_thread(lambda: list(lake.files()))}
        for file in recorded:
            there = stored.pop(file.path, None)
            if there is None or there.size != file.byte_count:
                found.missing.append(file.path)
        found.orphans = sorted(stored.values())
        sound = []
        for number, file in enumerate(recorded, 1):
            if file.path in found.missing:
                continue
            try:
                rows = await asyncio.to_thread(lake.whole, file.path, file.sha256)
            except LakeFaultError:
                found.damaged.append(file.path)
                continue
            found.rows += len(rows)
            sound.append(file)
            on_progress(number / (len(recorded) + 1))
        for first, last in _months(sound):
            paths = [file.listed for file in sound if file.overlaps(first, last)]
            in_lake = await asyncio.to_thread(lake.keys, paths, first, last)
            statement = sql("keys_in_table").rendered(first_date=first, last_date=last)
            in_table = await read_frame(connection, statement)
            _count_twice(found, pl.concat([in_lake, in_table.select(in_lake.columns)]))
    return found


async def count_position_days(connection: Connection, lake: Lake | None) -> int:
    """Return the number of position-days that have a snapshot in the lake or in PostgreSQL.

    Args:
        connection: in a transaction that reads one snapshot of the database.
        lake: None: the database has none.
    """
    total = int(await sql("days_in_table").value(connection))
    if lake is None:
        return total
    recorded = await recorded_files(connection)
    for first, last in _months(recorded):
        paths = [file.listed for file in recorded if file.overlaps(first, last)]
        in_lake = await asyncio.to_thread(lake.keys, paths, first, last)
        days = in_lake.select(_DAY).unique()
        statement = sql("keys_in_table").rendered(first_date=first, last_date=last)
        in_table = (await read_frame(connection, statement)).select(_DAY).unique()
        total += len(days.join(in_table, on=_DAY, how="anti"))
    return total


async def sweep(
    database: Database, *, older_than: timedelta, dry_run: bool = False
) -> list[LakeFile]:
    """Delete files that are not recorded: of attempts that died, and those that were replaced.

    Args:
        older_than: only files that were stored, or replaced, so long ago.
        dry_run: only return them.

    Raises:
        UsageError: `older_than` is less than LEAST_AGE.
        NotFoundError: the database has no lake.
        DatabaseSetupError: it is a copy of the database that made the lake, whose files it would
            take for unneeded.
        TransientError: the lake cannot be reached now.
    """
    if older_than < LEAST_AGE:
        raise UsageError(
            f"a file of the last {LEAST_AGE} may belong to an attempt that is not committed yet: "
            "give a longer time"
        )
    hours = -(-older_than // timedelta(hours=1))
    async with database.transaction(seconds=_CHECK_SECONDS) as connection:
        lake = await Lake.writable(connection)
        if not await sql("take_maintenance").value(connection):
            raise WriteConflictError("a maintenance of the lake is at work: wait for its end")
        # Listed first: a file that is recorded meanwhile is then known to be.
        stored = await asyncio.to_thread(lambda: list(lake.files()))
        recorded = {file.path for file in await recorded_files(connection)}
        replaced = {
            row["path"]: row["is_old"]
            for row in await sql("unused_files").fetch(connection, hours=hours)
        }
        before = datetime.now(UTC) - older_than
        unused = sorted(
            file
            for file in stored
            if file.path not in recorded and replaced.get(file.path, file.modified < before)
        )
        if not dry_run:
            paths = [file.path for file in unused]
            # First, for it needs the right to; and of files that an earlier sweep has deleted.
            gone = [path for path in replaced if path not in {file.path for file in stored}]
            await sql("forget_unused").execute(connection, paths=paths + gone)
            await asyncio.to_thread(lake.delete, paths)
    return unused


def _months(files: list[RecordedFile]) -> list[tuple[date, date]]:
    """Return the first and the last day of each month in which files may have rows."""
    if not files:
        return []
    first = min(file.first_date for file in files)
    return list(months(first, max(file.last_date for file in files)))


def _count_twice(found: LakeCheck, keys: pl.DataFrame) -> None:
    twice = keys.group_by(KEY).len().filter(pl.col("len") > 1).sort(KEY)
    found.twice += len(twice)
    for position, day, epoch, times in twice.head(_TWICE_SHOWN - len(found.examples)).iter_rows():
        found.examples.append(f"position {position}, {day}, epoch {epoch}: stored {times} times")
