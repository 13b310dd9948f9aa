"""Plan a correction: the steps of the engine itself, in a transaction that is rolled back.

Nothing remains: no row, no notification, no job or task id (only a gap in the trigger ids). The
positions are locked while the plan is made and its inputs are read, for `preview_seconds` at most,
and not while they are valued. If another transaction holds one of them for longer than a second,
the plan is abandoned.
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

# An arbitrary number that only previews lock: the negative job ids of two plans are the same.
_PREVIEW_LOCK = 7_263_548_202
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
    """How long a plan would take, by the speed of recorded jobs.

    Attributes:
        seconds: rows of the plan, at rows_per_second.
        bound: "about" if the recorded jobs are of like size. "at least" if they are larger and "at
            most" if they are smaller, because a row of a small job costs more. "at most" also if
            they are of like size and have fewer rows than the plan, because each run has fixed
            costs.
        rows_per_second: the speed of the recorded jobs.
        jobs: how many jobs were recorded.
    """

    seconds: float
    bound: str
    rows_per_second: float
    jobs: int


@dataclass(frozen=True)
class Plan:
    """What the engine would do after a correction.

    Attributes:
        correction: what the correction returned.
        positions: position_id, portfolio_id, security_id, base_currency.
        ranges: position_id, first_date, last_date (both included) and rows: what would be valued.
        inputs: the inputs of each task.
        before: position_id, date, market_value, unrealized_gain (in the base currency): what
            readers see now in the ranges, and on dates that leave the history.
        estimate: how long it would take; None: no finished job is recorded.
    """

    correction: Any
    positions: pl.DataFrame
    ranges: pl.DataFrame
    inputs: list[TaskInputs]
    before: pl.DataFrame
    estimate: Estimate | None


class _Hold:
    """The time limit of the plan's locks."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = monotonic() + seconds

    async def begin(self, connection: Connection) -> None:
        """Limit each statement to the same time, unless the connection has a lower limit."""
        await sql("limits").execute(connection, max_ms=max(1, round(self._seconds * 1000)))

    def check(self, step: str) -> None:
        """Raise PlanTooLongError if the time is over."""
        if monotonic() > self._until:
            raise PlanTooLongError(
                f"the plan would lock its positions for longer than {self._seconds:g} s; "
                f"it was at: {step}. "
                "Preview fewer corrections at once, or raise REVALUE_PREVIEW_SECONDS"
            )


async def plan_correction(database: Database, correct: Correct, settings: Settings) -> Plan:
    """Return what the engine would do after a correction.

    Args:
        database: needs two connections.
        correct: makes the correction on the database that it is given.
        settings: task sizes and preview_seconds.

    Raises:
        WriteConflictError: another transaction holds the positions.
        PlanTooLongError: the plan would take longer than preview_seconds.
        StatementCancelledError: a statement took too long.
        RevalueError: what `correct` raises.
    """
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SET LOCAL lock_timeout = '1s'")
            await sql("lock_previews").execute(connection, number=_PREVIEW_LOCK)
            hold = _Hold(settings.preview_seconds)
            await hold.begin(connection)
            correction = await correct(OpenTransaction(connection))
            return await _planned(database, connection, correction, settings, hold)
        finally:
            await transaction.rollback()


async def _planned(
    database: Database, connection: Connection, correction: Any, settings: Settings, hold: _Hold
) -> Plan:
    dry_run_term, reader = DryRunTerm(connection), TransactionReader(connection)
    own = await sql("own_triggers").value(connection)
    hold.check("finding the positions")
    while await fan_out.fan_out(dry_run_term, only=own):
        hold.check("invalidating the positions")
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
    due = await asyncio.to_thread(_due, reader, positions["position_id"], settings, hold)
    capacity = int(due.ranges["rows"].sum()) + 1
    staged = await stage.stage(
        dry_run_term, due, Lane.HISTORY, task_rows=settings.task_rows, capacity_rows=capacity
    )
    read = []
    for number, task in enumerate(staged.tasks, 1):
        hold.check(f"task {number:,} of {len(staged.tasks):,}")
        read.append(await asyncio.to_thread(read_inputs, reader, task))
    ranges = due.ranges.select(pl.col(name).cast(kind) for name, kind in _RANGES.items())
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


def _due(
    reader: TransactionReader, positions: pl.Series, settings: Settings, hold: _Hold
) -> stage.Scan:
    """Return the due dates of the positions, of all pages of both lanes, as one scan."""
    pages = []
    for lane in Lane:
        cursor: int | None = int(positions[0]) - 1
        while cursor is not None and cursor < positions[-1]:
            hold.check("scanning the positions")
            page = stage.scan(
                reader,
                lane,
                cursor,
                page_positions=stage.PAGE_POSITIONS,
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
    """Return what readers see now.

    On another connection than the plan, which sees its own changes. The locks of the plan keep what
    readers see from changing.
    """
    await sql("previewed_ranges").execute(connection)
    await copy_frame(connection, "previewed_ranges", ranges)
    await connection.execute("ANALYZE previewed_ranges")
    rows = await read_frame(connection, sql("published_rows").text)
    return rows.with_columns(pl.col("market_value", "unrealized_gain").cast(AMOUNT))


async def _estimate(connection: Connection, rows: pl.Series, settings: Settings) -> Estimate | None:
    """Estimate the time of a plan from `rows`, the rows of each of its jobs."""
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
