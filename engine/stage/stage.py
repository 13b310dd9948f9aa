"""Move 3, stage: owed dates are scanned into Arrow, decided on by the core, and written as jobs with the frontier."""

from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from revalue.engine.core.batching import assign_tasks, take_within
from revalue.engine.core.eligibility import due_ranges
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.leadership.term import Leadership
from revalue.engine.postgres.arrow import Reader, copy_frame
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.value.inputs import read_business_days

sql = statements(__package__)

PROPOSED_POSITION = ("position_id", "calendar_no", "calendar_revision", "revision", "horizon")
INVALIDATED_BY = ("trigger_id", "first_trigger_id")
"""And of a fan-out's position the last and the first trigger that reach it."""

_TEMP_TABLES = (
    """CREATE TEMP TABLE IF NOT EXISTS staged_positions
       (position_id bigint, calendar_no smallint, calendar_revision integer, revision integer, horizon date,
        first_date date, last_date date, trigger_id bigint, first_trigger_id bigint)
       ON COMMIT DELETE ROWS""",
    """CREATE TEMP TABLE IF NOT EXISTS staged_jobs
       (job_id bigint, task_id bigint, position_id bigint, first_date date, last_date date) ON COMMIT DELETE ROWS""",
)

_OPEN = ("open_first", "open_last", "is_split")
_NO_SPANS = pl.DataFrame(
    schema={"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date}
)


@dataclass(frozen=True)
class Scan:
    """One page of positions with something to stage, and what each of them owes (see engine.core.eligibility).

    positions    position_id, calendar_no, calendar_revision, revision, staged, frontier_date, horizon
    ranges  position_id, first_date, last_date, rows
    next_cursor  where the next page begins, or None when this one was the last
    """

    positions: pl.DataFrame
    ranges: pl.DataFrame
    next_cursor: int | None


@dataclass(frozen=True)
class Staged:
    """tasks: what to run; positions and jobs written; rest: the part of the scan there was no room for, or None."""

    tasks: list[Task]
    positions: int
    jobs: int
    rest: Scan | None


def scan(
    reader: Reader, lane: Lane, cursor: int, *, page_positions: int, live_business_days: int
) -> Scan:
    """Reads the next page of positions after `cursor` and decides what they owe. Blocking."""
    with reader.snapshot() as snapshot:
        is_live = int(lane is Lane.LIVE)
        positions = snapshot.read(
            sql("scan_positions"),
            live=is_live,
            cursor=cursor,
            most=page_positions,
            business_days=live_business_days,
        )
        if positions.is_empty():
            return Scan(positions.drop(_OPEN), _no_ranges(), None)
        page = {
            "first_position": int(positions["position_id"][0]),
            "last_position": int(positions["position_id"][-1]),
        }
        pending = (
            _NO_SPANS if positions["staged"].all() else snapshot.read(sql("scan_pending"), **page)
        )
        open_spans = positions.filter(
            ~pl.col("is_split") & pl.col("open_first").is_not_null()
        ).select("position_id", first_date="open_first", last_date="open_last")
        if positions["is_split"].any():
            open_spans = pl.concat([open_spans, snapshot.read(sql("scan_open_dates"), **page)])
        business_days = read_business_days(snapshot)
    positions = positions.drop(_OPEN)
    ranges = due_ranges(positions, pending, open_spans, business_days)
    return Scan(
        positions, ranges, page["last_position"] if len(positions) == page_positions else None
    )


async def live_lane_is_held(database: Database, *, live_business_days: int) -> bool:
    """Whether a queued trigger affects the dates of the live lane, so that staging them now would stage them twice."""
    async with database.connection() as connection:
        return bool(
            await sql("live_lane_is_held").value(connection, business_days=live_business_days)
        )


def _no_ranges() -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "position_id": pl.Int64,
            "first_date": pl.Date,
            "last_date": pl.Date,
            "rows": pl.Int32,
        }
    )


async def stage(
    term: Leadership, scanned: Scan, lane: Lane, *, task_rows: int, capacity_rows: int
) -> Staged:
    """One transaction: jobs for the first positions of the scan that fit in `capacity_rows`, and their frontiers moved.

    Positions that owe nothing move their frontier without a job. A position that was changed since the scan is left alone, and one whose
    calendar was.
    """
    if scanned.positions.is_empty():
        return Staged([], 0, 0, None)
    ranges = take_within(scanned.ranges, capacity_rows)
    positions, rest = scanned.positions, None
    if len(ranges) < len(scanned.ranges):
        behind = pl.col("position_id") > int(ranges["position_id"][-1])
        rest = Scan(positions.filter(behind), scanned.ranges.filter(behind), scanned.next_cursor)
        positions = positions.filter(~behind)
    async with term.transaction("stage") as connection:
        tasks = await propose(term, connection, positions, ranges, lane, task_rows=task_rows)
        await sql("lock_calendars").execute(connection)
        bounds = {
            "first_position": positions["position_id"].min(),
            "last_position": positions["position_id"].max(),
        }
        written = await sql("create_jobs").execute(
            connection, lane=lane.value, term=term.number, **bounds
        )
    return Staged(tasks if written else [], len(positions), written, rest)


async def propose(
    term: Leadership,
    connection: Connection,
    positions: pl.DataFrame,
    ranges: pl.DataFrame,
    lane: Lane,
    *,
    task_rows: int,
) -> list[Task]:
    """Writes positions and their ranges, as numbered jobs, where the statement that makes them finds them (staged_positions,
    staged_jobs: temporary, until the end of the transaction). Returns the tasks that they would be.

    positions    PROPOSED_POSITION, and for a fan-out INVALIDATED_BY
    ranges  position_id, first_date, last_date, rows, sorted by position_id
    """
    for table in _TEMP_TABLES:
        await connection.execute(table)
    if positions.is_empty():
        return []
    first_job = await term.take_ids(connection, "valuation_job_ids", len(ranges))
    first_task = await term.take_ids(connection, "valuation_task_ids", len(ranges))
    jobs = assign_tasks(ranges, task_rows, first_job_id=first_job, first_task_id=first_task)
    # A position with one range carries it: to aggregate it from its jobs takes longer than the rest of the position.
    single = ranges.filter(pl.len().over("position_id") == 1).select(
        "position_id", "first_date", "last_date"
    )
    proposed = positions.select(
        pl.col(PROPOSED_POSITION), cs.by_name(INVALIDATED_BY, require_all=False)
    )
    await copy_frame(
        connection,
        "staged_positions",
        proposed.join(single, on="position_id", how="left", maintain_order="left"),
    )
    await copy_frame(
        connection,
        "staged_jobs",
        jobs.select("job_id", "task_id", "position_id", "first_date", "last_date"),
    )
    for table in ("staged_positions", "staged_jobs"):
        await connection.execute(f"ANALYZE {table}")
    tasks = jobs.group_by("task_id", maintain_order=True).agg(
        pl.col("job_id").first().alias("first_job_id"),
        pl.col("job_id").last().alias("last_job_id"),
        pl.col("position_id").first().alias("first_position_id"),
        pl.col("position_id").last().alias("last_position_id"),
        pl.col("rows").sum(),
    )
    return [Task(lane=lane, **numbers) for numbers in tasks.iter_rows(named=True)]
