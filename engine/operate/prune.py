"""Delete what only readers of the distant past need: retention.

The retention floor is a time in the past. Questions about that time, a later time or the present
have the same answers as before the prune; questions about an earlier time are errors. The floor is
raised first: from then on no reader can see how much is deleted already. So the rest is done in
short transactions, which can stop anywhere and be run again.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from revalue.engine.errors import AccessDeniedError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

SNAPSHOTS, JOBS = "daily_position_snapshots", "portfolio_valuation_jobs"
PUBLICATIONS, TRIGGERS = "publications", "reprocessing_triggers"
HOLES, LETTERS, FENCED = "position_holes", "dead_letters", "fenced_attempts"
LOADS, CONFIRMATIONS = "loads", "confirmations"
REPLACED_PRICES, REPLACED_RATES = "replaced_prices", "replaced_rates"
REPLACED_RECORDS = "replaced_records"
TABLES = (
    *(PUBLICATIONS, SNAPSHOTS, JOBS, HOLES, LETTERS, TRIGGERS, FENCED, LOADS, CONFIRMATIONS),
    *(REPLACED_PRICES, REPLACED_RATES, REPLACED_RECORDS),
)
"""The tables that are pruned, in this order."""

# What one transaction looks at: positions of one date or of publications, jobs, other rows.
_POSITIONS, _JOBS, _ROWS = 100_000, 2_000, 20_000
_LOCK_MS = "5000"
_LONGEST_SECONDS = 7 * 24 * 3600


@dataclass
class PrunedTable:
    """What is deleted of a table.

    Attributes:
        rows: number of rows.
        bytes: their size, without index entries and what a page needs for itself.
    """

    rows: int = 0
    bytes: int = 0

    def add(self, rows: int, size: int) -> None:
        """Add what one transaction has deleted."""
        self.rows += rows
        self.bytes += size


@dataclass(frozen=True)
class Pruned:
    """What a prune has deleted, or would delete.

    Attributes:
        floor: the retention floor: `known_at` before it is refused.
        is_dry_run: nothing was deleted, and the floor was not raised.
        tables: what is deleted of each table of TABLES.
    """

    floor: datetime
    is_dry_run: bool
    tables: dict[str, PrunedTable] = field(
        default_factory=lambda: {name: PrunedTable() for name in TABLES}
    )

    @property
    def rows(self) -> int:
        """The number of rows of all tables."""
        return sum(table.rows for table in self.tables.values())


@dataclass(frozen=True)
class PruneProgress:
    """How far a prune is.

    Attributes:
        table: the table at which it works.
        fraction: how much of this table is looked at, from 0 to 1; None: it is not known.
        rows: rows of all tables that are deleted, or would be.
    """

    table: str
    fraction: float | None
    rows: int


OnProgress: TypeAlias = Callable[[PruneProgress], None]


async def prune(
    database: Database,
    *,
    keep: timedelta | None = None,
    before: datetime | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> Pruned:
    """Raise the retention floor, and delete what no reader at or after it can see.

    If the floor is higher already, what is left below it is deleted. Deleted are snapshots with a
    later published one of the same position and date, publications before the last one at the
    floor, finished jobs, corrections that are fanned out, dead letters that were tried again, and
    records of fenced attempts and of loads, which can then not be taken back any more, and
    confirmations that were withdrawn.

    Args:
        keep: the floor is so long before now, by the database's clock.
        before: the floor; give this or `keep`.
        dry_run: only count what would be deleted.
        on_progress: called after each transaction. What it raises ends the prune.

    Raises:
        UsageError: the floor is not in the past.
        AccessDeniedError: the user is not the owner of the tables.
        WriteConflictError: a table is locked by another session. What was deleted stays so.
    """
    try:
        async with database.connection(seconds=_LONGEST_SECONDS) as connection:
            now = await sql("prune_floor").one(connection)
            wanted = _floor(now["now"], keep, before)
            floor = max(wanted, now["floor"] or wanted)
            if not dry_run and floor != now["floor"]:
                async with connection.transaction():
                    floor = await sql("prune_raise_floor").value(connection, floor=floor)
            pruning = _Prune(connection, Pruned(floor, dry_run), on_progress)
            await pruning.run(now["last_position"])
    except AccessDeniedError as error:
        raise AccessDeniedError(
            f"to prune is for the owner of the tables, the user that migrates the schema: {error}"
        ) from error
    return pruning.pruned


def _floor(now: datetime, keep: timedelta | None, before: datetime | None) -> datetime:
    if (keep is None) == (before is None):
        raise UsageError("say how much of the past is kept: either keep or before")
    if before is not None and before.tzinfo is None:
        raise UsageError(f"before {before} has no time zone: give one, for example UTC")
    try:
        floor = before if keep is None else now - keep
    except OverflowError:
        raise UsageError(f"{keep} before now is no time: give fewer days") from None
    assert floor is not None
    if floor > now:
        raise UsageError(
            f"the retention floor {floor.isoformat()} is in the future of the database's clock: "
            "give a time that has passed"
        )
    return floor


class _Prune:
    """One prune, on a session of its own: a temporary table has the epochs at the floor."""

    def __init__(
        self, connection: Connection, pruned: Pruned, on_progress: OnProgress | None
    ) -> None:
        self._connection = connection
        self.pruned = pruned
        self._on_progress = on_progress
        self._gone: list[int] = []  # jobs that a dry run has found

    async def run(self, last_position: int) -> None:
        """Delete from one table after the other; publications first, snapshots before their jobs.

        A publication takes over the epoch that a job has published, so that the job can go. While
        the job of a snapshot is there, it is known when the snapshot was committed.
        """
        await self._read_epochs()
        await self._prune_publications(last_position)
        await self._prune_snapshots(last_position)
        await self._prune_jobs()
        await self._prune_triggers()
        await self._prune_rows(LETTERS, "prune_letters")
        await self._prune_rows(FENCED, "prune_fenced")
        # The record of a load first: without it nobody takes back a part of what is kept of it.
        await self._prune_rows(LOADS, "prune_loads")
        await self._prune_rows(REPLACED_PRICES, "prune_replaced_prices")
        await self._prune_rows(REPLACED_RATES, "prune_replaced_rates")
        await self._prune_rows(REPLACED_RECORDS, "prune_replaced_records")
        await self._prune_rows(CONFIRMATIONS, "prune_confirmations")
        await sql("prune_forget_epochs").execute(self._connection)
        if not self.pruned.is_dry_run and self.pruned.rows:
            await sql("prune_vacuum").execute(self._connection)

    async def _read_epochs(self) -> None:
        """Read the epochs at the floor; another prune may have raised it since it was read."""
        connection = self._connection
        # One snapshot of the database for both: epochs before a floor cannot be asked for.
        async with connection.transaction(isolation="repeatable_read"):
            now = await sql("prune_floor").one(connection)
            floor = max(self.pruned.floor, now["floor"] or self.pruned.floor)
            self.pruned = replace(self.pruned, floor=floor)
            await sql("prune_forget_epochs").execute(connection)
            await sql("prune_create_epochs").execute(connection)
            await sql("prune_read_epochs").execute(connection, floor=self.pruned.floor)
            await sql("prune_analyze_epochs").execute(connection)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._connection.transaction():
            if not self.pruned.is_dry_run:
                await sql("prune_begin").one(self._connection, lock_ms=_LOCK_MS)
            yield self._connection

    async def _step(self, statement: str, **values: Any) -> Any:
        async with self._transaction() as connection:
            return await sql(statement).one(
                connection,
                floor=self.pruned.floor,
                deletes=not self.pruned.is_dry_run,
                **values,
            )

    async def _prune_publications(self, last_position: int) -> None:
        for after in range(0, last_position, _POSITIONS):
            found = await self._step("prune_publications", after=after, upto=after + _POSITIONS)
            self._add(PUBLICATIONS, found["rows"], found["bytes"])
            self._tell(PUBLICATIONS, (after + _POSITIONS) / last_position)

    async def _prune_snapshots(self, last_position: int) -> None:
        months = await sql("prune_months").fetch(self._connection)
        for number, month in enumerate(months):
            dates = await sql("prune_dates").fetch(self._connection, **month)
            for place, (day,) in enumerate(dates):
                for after in range(0, last_position, _POSITIONS):
                    found = await self._step(
                        "prune_snapshots", date=day, after=after, upto=after + _POSITIONS
                    )
                    self._add(SNAPSHOTS, found["rows"], found["bytes"])
                    self._tell(SNAPSHOTS, (number + (place + 1) / len(dates)) / len(months))
            self._tell(SNAPSHOTS, (number + 1) / len(months))

    async def _prune_jobs(self) -> None:
        after: int | None = 0
        while after is not None:
            found = await self._step("prune_jobs", after=after, most=_JOBS)
            self._gone += found["would_go"] or ()
            self._add(JOBS, found["jobs"], found["job_bytes"])
            self._add(HOLES, found["holes"], found["hole_bytes"])
            self._add(LETTERS, found["letters"], found["letter_bytes"])
            self._tell(JOBS, None)
            after = found["last_job"]

    async def _prune_triggers(self) -> None:
        causes = await sql("prune_causes").value(self._connection, gone=self._gone)
        after: int | None = 0
        while after is not None:
            found = await self._step("prune_triggers", after=after, most=_ROWS, causes=causes)
            self._add(TRIGGERS, found["rows"], found["bytes"])
            self._tell(TRIGGERS, None)
            after = found["last_trigger"]

    async def _prune_rows(self, table: str, statement: str) -> None:
        while True:
            found = await self._step(statement, most=_ROWS)
            self._add(table, found["rows"], found["bytes"])
            self._tell(table, None)
            if self.pruned.is_dry_run or found["rows"] < _ROWS:
                return

    def _add(self, table: str, rows: int, size: int) -> None:
        self.pruned.tables[table].add(rows, size)

    def _tell(self, table: str, fraction: float | None) -> None:
        if self._on_progress is not None:
            share = None if fraction is None else min(fraction, 1.0)
            self._on_progress(PruneProgress(table, share, self.pruned.rows))
