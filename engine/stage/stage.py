"""Step 3, stage: write the jobs of what is due, and the frontiers of its positions."""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from revalue.engine.core.batching import assign_jobs, take_within
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.bulk_copy import copy_frame
from revalue.engine.postgres.database import SHORT_SECONDS, Connections
from revalue.engine.postgres.sequences import take_ids
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.stage.scan import Scan

sql = statements(__package__)

PROPOSED_POSITION = ("position_id", "calendar_no", "calendar_revision", "revision", "horizon")
INVALIDATED_BY = ("trigger_id", "stale_moment")
"""Further columns of a fan-out's positions: the last trigger that affects them, and the first
commit of one."""


@dataclass(frozen=True)
class Staged:
    """The result of staging one scan.

    tasks: the tasks to run.
    positions: number of positions that were proposed.
    spans: number of spans of the jobs written.
    rest: the part of the scan for which there was no capacity, or None.
    left: how many of the positions were left for a later scan, because another session has locked
        them or their calendar.
    locked_calendars: the calendars that another session has locked.
    """

    tasks: list[Task]
    positions: int
    spans: int
    rest: Scan | None
    left: int = 0
    locked_calendars: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StagedNewest:
    """The result of staging the newest days of a page of positions.

    tasks: the tasks to run.
    spans: number of spans of the jobs written.
    days: how many positions there are of each number of days due.
    next_cursor: position_id after which the next page begins; None: this page was the last.
    """

    tasks: list[Task]
    spans: int
    days: dict[int, int]
    next_cursor: int | None


async def forget_staged(term: Term) -> None:
    """Delete from unstaged_positions the positions that are staged."""
    async with term.transaction("forget_staged") as connection:
        await sql("forget_staged").execute(connection)


async def live_lane_is_held(database: Connections, *, live_business_days: int) -> bool:
    """Return whether a queued trigger affects dates of the live lane.

    If these dates were staged before the fan-out, they would be staged twice.
    """
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        return bool(
            await sql("live_lane_is_held").value(connection, business_days=live_business_days)
        )


async def stage(
    term: Term,
    scanned: Scan,
    lane: Lane,
    *,
    task_rows: int,
    capacity_rows: int,
    leave_locked: bool = False,
) -> Staged:
    """Write the jobs of a scan's first positions and advance their frontiers, in one transaction.

    A position on which nothing is due gets a new frontier but no job. A position that was changed
    since the scan, or whose calendar was, is left unchanged. So is one whose calendar another
    session has locked.

    Args:
        task_rows: target position-days per job.
        capacity_rows: position-days that may be scheduled; at least one position is.
        leave_locked: leave positions that another session has locked. Otherwise wait for them.

    Raises:
        WriteConflictError: another session holds the lock of a position for too long.
    """
    if scanned.positions.is_empty():
        return Staged([], 0, 0, None)
    ranges = take_within(scanned.ranges, capacity_rows)
    positions, rest = scanned.positions, None
    if len(ranges) < len(scanned.ranges):
        beyond = pl.col("position_id") > int(ranges["position_id"][-1])
        rest = Scan(positions.filter(beyond), scanned.ranges.filter(beyond), scanned.next_cursor)
        positions = positions.filter(~beyond)
    async with term.transaction("stage") as connection:
        tasks = await propose_jobs(connection, positions, ranges, lane, task_rows=task_rows)
        locked = await sql("lock_calendars").fetch(connection)
        left = 0
        if locked:
            left = await sql("leave_calendars").execute(
                connection, calendars=[row["calendar_no"] for row in locked]
            )
        bounds = {
            "first_position": positions["position_id"].min(),
            "last_position": positions["position_id"].max(),
        }
        if leave_locked:
            left += await sql("leave_locked_positions").execute(connection, **bounds)
        written: int = await sql("create_jobs").value(
            connection, lane=lane.value, term=term.number, **bounds
        )
    return Staged(
        tasks if written else [],
        len(positions),
        written,
        rest,
        left,
        frozenset(row["calendar_id"] for row in locked),
    )


async def stage_newest(
    term: Term,
    cursor: int,
    *,
    page_positions: int,
    task_rows: int,
    capacity_rows: int,
    live_business_days: int,
) -> StagedNewest:
    """Stage the next page of positions of the live lane, as far as only business days are due on
    which they are open, in one transaction.

    It does what a scan and `stage` would do, in less than half of the time. Positions of which
    something else is due are left for the scan, and so are those whose calendar another session has
    locked.

    Args:
        cursor: the page begins after this position_id.
        page_positions: largest number of positions of the page.
        task_rows: target position-days per job.
        capacity_rows: position-days that may be scheduled; at least one position is.

    Raises:
        WriteConflictError: another session holds the lock of a position for too long.
    """
    live = {"business_days": live_business_days}
    most = max(1, min(page_positions, capacity_rows))
    async with term.transaction("stage") as connection:
        page = await sql("newest_page").one(connection, cursor=cursor, limit=most, **live)
        days = page["days"] or 1
        if page["positions"] > 1 and page["positions"] * days > capacity_rows:
            most = max(1, capacity_rows // days)
            page = await sql("newest_page").one(connection, cursor=cursor, limit=most, **live)
        if not page["positions"]:
            return StagedNewest([], 0, {}, None)
        free = await sql("lock_free_calendars").fetch(connection)
        rows = await sql("stage_newest").fetch(
            connection,
            calendars=[row["calendar_no"] for row in free],
            first_position=page["first_position"],
            last_position=page["last_position"],
            task_rows=task_rows,
            term=term.number,
            **live,
        )
    tasks = [
        Task(
            lane=Lane.LIVE,
            task_id=row["task_id"],
            first_position_id=row["first_position_id"],
            last_position_id=row["last_position_id"],
            spans=row["spans"],
            rows=row["rows"],
        )
        for row in rows
    ]
    return StagedNewest(
        tasks,
        sum(task.spans for task in tasks),
        dict(rows[0]["days"]) if rows else {},
        page["last_position"] if page["positions"] == most else None,
    )


async def wait_for_calendars(connection: Connection, calendars: Collection[str]) -> None:
    """Wait until no other session has locked any of these calendars."""
    await sql("wait_for_calendars").execute(connection, calendars=list(calendars))


async def propose_jobs(
    connection: Connection,
    positions: pl.DataFrame,
    ranges: pl.DataFrame,
    lane: Lane,
    *,
    task_rows: int,
) -> list[Task]:
    """Write positions and their ranges, as spans of numbered jobs, into temporary tables.

    The statement that creates the jobs reads them from staged_positions and staged_spans, which are
    emptied at the end of the transaction.

    Args:
        positions: PROPOSED_POSITION and optionally staged; of a fan-out also INVALIDATED_BY.
        ranges: position_id, first_date, last_date (both included), rows; sorted by position_id.
        task_rows: target position-days per job.

    Returns:
        The first attempts at these jobs, if the jobs are created.
    """
    await sql("create_staging_tables").execute(connection)
    if positions.is_empty():
        return []
    spans = assign_jobs(ranges, task_rows)
    count = 1 + (spans["job_no"][-1] if len(spans) else -1)
    numbers = pl.DataFrame(
        {
            "job_no": range(count),
            "job_id": await take_ids(connection, "valuation_job_ids", count),
            "task_id": await take_ids(connection, "valuation_task_ids", count),
        },
        schema=dict.fromkeys(("job_no", "job_id", "task_id"), pl.Int64),
    )
    spans = spans.join(numbers, on="job_no", how="left", maintain_order="left")
    # A position with a single range carries it: aggregating it from its spans would cost more than
    # all else about the position.
    single = ranges.filter(pl.len().over("position_id") == 1).select(
        "position_id", "first_date", "last_date"
    )
    proposed = positions.select(
        pl.col(PROPOSED_POSITION),
        cs.by_name("staged", require_all=False).alias("is_staged"),
        cs.by_name(INVALIDATED_BY, require_all=False),
    )
    await copy_frame(
        connection,
        "staged_positions",
        proposed.join(single, on="position_id", how="left", maintain_order="left"),
    )
    await copy_frame(
        connection,
        "staged_spans",
        spans.select("job_id", "task_id", "position_id", "first_date", "last_date"),
    )
    await connection.execute("ANALYZE staged_positions, staged_spans")
    tasks = spans.group_by("task_id", maintain_order=True).agg(
        pl.col("position_id").first().alias("first_position_id"),
        pl.col("position_id").last().alias("last_position_id"),
        pl.len().alias("spans"),
        pl.col("rows").sum(),
    )
    return [Task(lane=lane, **numbers) for numbers in tasks.iter_rows(named=True)]
