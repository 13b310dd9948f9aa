"""A correction's plan, made by the engine's own moves in a transaction that is rolled back.

Nothing stays behind: no row, no notification, no job or task id (only a gap in the numbers of triggers). The rows of the
positions are locked while the plan is made and its inputs are read, for `preview_seconds` at most, and not while it is valued.
It gives way to whoever holds one of them for longer than a second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import polars as pl

from revalue.engine.core.decimals import AMOUNT
from revalue.engine.core.lifecycle import Lane
from revalue.engine.errors import PlanTooLongError
from revalue.engine.fan_out import fan_out
from revalue.engine.leadership.term import DryRunTerm
from revalue.engine.operate.eta import throughput
from revalue.engine.postgres.arrow import copy_frame
from revalue.engine.postgres.database import Connections, Database, OpenTransaction
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.transaction_reader import TransactionReader, read_frame
from revalue.engine.settings import Settings
from revalue.engine.stage import stage
from revalue.engine.value.inputs import TaskInputs, read_inputs

sql = statements(__package__)

Correct = Callable[[Connections], Awaitable[Any]]

_ONE_AT_A_TIME = 7_263_548_202  # an arbitrary number that only previews lock: their negative job ids are all the same
_PAGE_POSITIONS = 20_000
_BEFORE = {
    "position_id": pl.Int64(),
    "date": pl.Date(),
    "market_value": AMOUNT,
    "unrealized_gain": AMOUNT,
}
_RANGES = {
    "position_id": pl.Int64(),
    "first_date": pl.Date(),
    "last_date": pl.Date(),
    "rows": pl.Int64(),
}


@dataclass(frozen=True)
class Estimate:
    """seconds at rows_per_second, the speed of `jobs` recorded jobs. bound: "about" where those are of like size, else
    "at least" where they are larger and "at most" where they are smaller (rows of small jobs cost more); "at most" also where
    they are like and together fewer rows than the plan (each run has costs that more rows share)."""

    seconds: float
    bound: str
    rows_per_second: float
    jobs: int


@dataclass(frozen=True)
class Plan:
    """correction: what the act answered. positions: position_id, portfolio_id, security_id, base_currency. ranges: what would be
    valued, with the rows they hold. inputs: of each task. before: position_id, date, market_value, unrealized_gain, of the
    planned ranges and of dates that leave the history."""

    correction: Any
    positions: pl.DataFrame
    ranges: pl.DataFrame
    inputs: list[TaskInputs]
    before: pl.DataFrame
    estimate: Estimate | None


class _Hold:
    """How long the plan may still hold the rows that it has locked."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = monotonic() + seconds

    async def begin(self, connection: Connection) -> None:
        """No statement may take longer either; one that may take less on this connection still may."""
        await sql("limits").execute(connection, most_ms=max(1, round(self._seconds * 1000)))

    def check(self, step: str) -> None:
        """Raises PlanTooLongError."""
        if monotonic() > self._until:
            raise PlanTooLongError(
                f"the plan would hold its positions for longer than {self._seconds:g} s: it had come to {step}. "
                "Preview fewer corrections at once, or raise REVALUE_PREVIEW_SECONDS"
            )


async def plan_correction(database: Database, correct: Correct, settings: Settings) -> Plan:
    """What the engine would do after `correct`. Raises what `correct` raises, WriteConflictError, PlanTooLongError,
    StatementCancelledError. Needs two connections of the database."""
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SET LOCAL lock_timeout = '1s'")
            await connection.fetchval("SELECT pg_advisory_xact_lock($1)", _ONE_AT_A_TIME)
            hold = _Hold(settings.preview_seconds)
            await hold.begin(connection)
            correction = await correct(OpenTransaction(connection))
            return await _planned(database, connection, correction, settings, hold)
        finally:
            await transaction.rollback()


async def _planned(
    database: Database, connection: Connection, correction: Any, settings: Settings, hold: _Hold
) -> Plan:
    rehearsal, reader = DryRunTerm(connection), TransactionReader(connection)
    own = await connection.fetchval(
        "SELECT COALESCE(array_agg(trigger_id), '{}') FROM reprocessing_triggers WHERE xmin = pg_current_xact_id()::xid"
    )
    hold.check("finding the positions")
    while await fan_out.fan_out(rehearsal, only=own):
        hold.check("raising the positions")
    positions = await read_frame(connection, sql("positions").text)
    if positions.is_empty():
        return Plan(
            correction,
            positions,
            pl.DataFrame(schema=_RANGES),
            [],
            pl.DataFrame(schema=_BEFORE),
            None,
        )
    leaving = await read_frame(connection, sql("leaving_dates").text)
    owed = await asyncio.to_thread(_owed, reader, positions["position_id"], settings, hold)
    capacity = int(owed.ranges["rows"].sum()) + 1
    staged = await stage.stage(
        rehearsal, owed, Lane.HISTORY, task_rows=settings.task_rows, capacity_rows=capacity
    )
    read = []
    for number, task in enumerate(staged.tasks, 1):
        hold.check(f"task {number:,} of {len(staged.tasks):,}")
        read.append(await asyncio.to_thread(read_inputs, reader, task))
    ranges = owed.ranges.select(pl.col(name).cast(kind) for name, kind in _RANGES.items())
    async with database.transaction() as readers:
        before = await _before(readers, pl.concat([ranges.drop("rows"), leaving]))
        estimate = await _estimate(readers, ranges["rows"], settings)
    return Plan(
        correction,
        positions,
        ranges,
        [inputs for inputs in read if inputs is not None],
        before,
        estimate,
    )


def _owed(
    reader: TransactionReader, positions: pl.Series, settings: Settings, hold: _Hold
) -> stage.Scan:
    """All pages of what the positions owe, in either lane, as one."""
    pages = []
    for lane in Lane:
        cursor: int | None = int(positions[0]) - 1
        while cursor is not None and cursor < positions[-1]:
            hold.check("scanning the positions")
            page = stage.scan(
                reader,
                lane,
                cursor,
                page_positions=_PAGE_POSITIONS,
                live_business_days=settings.live_business_days,
            )
            pages.append(page)
            cursor = page.next_cursor
    mine = pl.col("position_id").is_in(positions.implode())
    scanned, ranges = (
        pl.concat(part) for part in ([p.positions for p in pages], [p.ranges for p in pages])
    )
    return stage.Scan(
        scanned.filter(mine), ranges.filter(mine).sort("position_id", "first_date"), None
    )


async def _before(connection: Connection, ranges: pl.DataFrame) -> pl.DataFrame:
    """What readers see now: on another connection than the plan's, whose locks keep it from changing meanwhile."""
    await connection.execute(
        "CREATE TEMP TABLE previewed_ranges (position_id bigint, first_date date, last_date date) ON COMMIT DROP"
    )
    await copy_frame(connection, "previewed_ranges", ranges)
    await connection.execute("ANALYZE previewed_ranges")
    rows = await read_frame(connection, sql("published_rows").text)
    return rows.with_columns(pl.col("market_value", "unrealized_gain").cast(AMOUNT))


async def _estimate(connection: Connection, rows: pl.Series, settings: Settings) -> Estimate | None:
    """`rows`: of each job of the plan."""
    if rows.is_empty():
        return None
    mean = float(rows.sum() / len(rows))
    found = await throughput(connection, mean, settings)
    if found is None:
        return None
    if found["only_like"]:
        bound = "about" if found["rows_written"] >= rows.sum() else "at most"
    else:
        bound = "at least" if found["rows_per_job"] > mean else "at most"
    speed = float(found["rows_per_second"])
    return Estimate(int(rows.sum()) / speed, bound, speed, found["jobs"])
