"""What operators ask: the state of the positions, what is queued, jobs, dead letters, corrections.

For the control path only: every row becomes a dict.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from revalue.engine.lake.check import count_position_days as count_of_both
from revalue.engine.lake.lake import Lake
from revalue.engine.operate.job_filter import MAX_ID
from revalue.engine.operate.kept_counts import shared_counts
from revalue.engine.operate.position_counts import PositionCounts, read_last_change
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Rows, statements

sql = statements(__package__)

# One page of stuck positions looks at this many positions, and at the states of this many.
_WINDOW_POSITIONS, _CANDIDATES = 100_000, 2_000


@dataclass(frozen=True)
class Status:
    """The state of all positions and of the scheduler.

    Attributes:
        positions: number of positions by state (CURRENT, BEHIND, REPROCESSING, WAITING_FOR_DATA,
            FAILED) of the view position_status; states without positions are left out.
        first_watermark: the earliest watermark of a position; None: some position was never
            scheduled, or there is none.
        last_watermark: the latest watermark of a position; None: there is none.
        horizon: the last business day that is opened, of any calendar: up to it positions are to be
            valued. None: nothing is opened.
        first_hole: the first date on which a position has no value for want of data; None: none.
        last_hole: the last such date.
        frontier_of_holes: up to which date the positions with holes are valued but for their holes.
        reasons: (first word of the failure reason, number of positions, one example) of the
            positions that wait for data or failed.
        triggers_queued: corrections that are not fanned out yet.
        jobs_deferred: jobs that wait for their next retry.
        dead_letters: jobs that failed for good and whose dates are still due.
        term: the number of the last scheduler term.
        holder: who holds the term; None: nobody.
        heartbeat_age_seconds: since the last heartbeat of a leader; None: there was none.
        counted_at: when the positions were counted, and the jobs that are deferred, that failed and
            that were abandoned.
        read_at: when the rest was read.
        changed_since_count: whether something was corrected, opened, added or retried since it was
            counted, so that positions can have stopped being current.
        zombie_jobs_fenced: spans of jobs that an abandoned attempt tried to finish, and could not.
        calendars_not_opened: calendars of positions of which nothing is opened, so that nothing of
            these positions is due.
        paused_at: since when an operator has paused the scheduler; None: it is not paused.
        paused_by: who paused it.
    """

    positions: dict[str, int]
    first_watermark: date | None
    last_watermark: date | None
    horizon: date | None
    first_hole: date | None
    last_hole: date | None
    frontier_of_holes: date | None
    reasons: list[tuple[str, int, str]]
    triggers_queued: int
    jobs_deferred: int
    dead_letters: int
    term: int
    holder: str | None
    heartbeat_age_seconds: float | None
    counted_at: datetime
    read_at: datetime
    changed_since_count: bool = False
    zombie_jobs_fenced: int = 0
    calendars_not_opened: tuple[str, ...] = ()
    paused_at: datetime | None = None
    paused_by: str | None = None

    @property
    def total(self) -> int:
        """The number of all positions."""
        return sum(self.positions.values())

    @property
    def counted_seconds_ago(self) -> float:
        """How old the counts are."""
        return max(0.0, (self.read_at - self.counted_at).total_seconds())

    @property
    def is_current(self) -> bool:
        """Whether every position is CURRENT and no trigger is queued, now and not at the count."""
        return (
            self.positions.get("CURRENT", 0) == self.total
            and self.triggers_queued == 0
            and not self.changed_since_count
        )


async def read_status(
    database: Connections, counts: PositionCounts | None = None, *, exact: bool = False
) -> Status:
    """Return the state of all positions, and what is queued.

    Args:
        database: the database to ask.
        counts: the positions as they were counted before; None: as they are kept in the database.
        exact: count them now, unless nothing can have changed them since they were counted.
    """
    counts = counts or await shared_counts(database, exact=exact)
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        change = await read_last_change(connection)
        work = await sql("status_work").one(connection)
    return Status(
        positions=counts.positions,
        first_watermark=counts.first_watermark,
        last_watermark=counts.last_watermark,
        horizon=counts.horizon,
        first_hole=counts.first_hole,
        last_hole=counts.last_hole,
        frontier_of_holes=counts.frontier_of_holes,
        reasons=counts.reasons,
        jobs_deferred=counts.jobs_deferred,
        dead_letters=counts.dead_letters,
        zombie_jobs_fenced=counts.zombie_jobs_fenced,
        counted_at=counts.counted_at,
        read_at=change.read_at,
        changed_since_count=change != counts.change,
        **{**work, "calendars_not_opened": tuple(work["calendars_not_opened"])},
    )


async def list_dead_letters(
    database: Connections,
    *,
    still_failed: bool,
    portfolios: list[str] | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Rows:
    """Return the newest dead letters that fit, the newest first.

    Args:
        database: the database to ask.
        still_failed: leave out those whose job was requeued or superseded since.
        portfolios: only those of these portfolios; None: all.
        before: only those with a smaller id: the cursor of a page; None: from the newest on.
        limit: at most this many.
    """
    return await _fetch(
        database,
        "dead_letters",
        still_failed=still_failed,
        portfolios=portfolios,
        before=before,
        limit=limit,
    )


async def list_failed_jobs(database: Connections) -> list[int]:
    """Return the ids of the jobs that failed for good and whose dates are still due."""
    return [row["job_id"] for row in await _fetch(database, "failed_jobs")]


async def list_corrections(
    database: Connections, counts: PositionCounts | None = None, *, limit: int = 200
) -> Rows:
    """Return the corrections that are not complete, the oldest first.

    A correction is complete when every position that it invalidated publishes it. One that was
    fanned out after the positions were counted is in the list: nothing is known of its progress.

    Args:
        database: the database to ask.
        counts: the positions as they were counted before; None: as they are kept in the database.
        limit: at most this many.
    """
    counts = counts or await shared_counts(database)
    return await _fetch(
        database,
        "corrections",
        last_moment=counts.change.last_moment,
        trigger_ids=list(counts.unpublished),
        positions=[each.positions for each in counts.unpublished.values()],
        position_ids=[each.example for each in counts.unpublished.values()],
        limit=limit,
    )


async def page_of_stuck_positions(
    database: Connections,
    *,
    portfolios: list[str] | None = None,
    after: int = 0,
    limit: int = 200,
) -> tuple[Rows, int | None]:
    """Return the positions that wait for data, failed or are reprocessing, by position_id, and the
    cursor of the next page.

    A page looks at a bounded number of positions: it can be shorter than `limit`, or empty, and
    have a cursor. The cursor is None if and only if there are no more.

    Args:
        database: the database to ask.
        portfolios: only positions of these portfolios; None: all.
        after: only positions with a greater id: the cursor of the page before.
        limit: at most this many.
    """
    found = await _fetch(
        database,
        "stuck_positions",
        portfolios=portfolios,
        after=after,
        limit=limit,
        last=min(after + _WINDOW_POSITIONS, MAX_ID),
        candidates=_CANDIDATES,
    )
    until = found[0].pop("until")
    for row in found[1:]:
        del row["until"]
    rows = [row for row in found if row["position_id"] is not None]
    return rows, rows[-1]["position_id"] if len(rows) == limit else until


async def retry_jobs(database: Connections, job_ids: list[int]) -> list[int]:
    """Requeue failed jobs, with their attempt count reset, and make holes due again.

    Returns:
        The ids of the jobs whose dates are valued again, without those that are complete, in
        flight, superseded or unknown.
    """
    async with database.transaction() as connection:
        rows = await sql("retry_jobs").fetch(connection, jobs=job_ids)
        await connection.execute("NOTIFY revalue_wake")
    return [row["job_id"] for row in rows]


async def queue_depth(database: Connections) -> dict[str, int]:
    """Return what the scheduler could start now.

    Returns:
        triggers: queued triggers; due: deferred jobs whose time has come; retries: jobs that are
        deferred for a retry, due or not.
    """
    async with database.connection() as connection:
        return dict(await sql("queue_depth").one(connection))


async def count_position_days(database: Connections) -> int:
    """Return the number of position-days that have at least one snapshot."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        return await count_of_both(connection, await Lake.of(connection))


async def _fetch(database: Connections, name: str, **values: Any) -> Rows:
    async with database.connection() as connection:
        return [dict(row) for row in await sql(name).fetch(connection, **values)]
