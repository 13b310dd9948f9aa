"""What an operator asks: where the positions stand, what is queued, which jobs wait or failed. Control path only."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import NotFoundError, UsageError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)


@dataclass(frozen=True)
class Status:
    """positions: number by state (CURRENT, BEHIND, REPROCESSING, WAITING_FOR_DATA, FAILED), of the view position_status.

    first_watermark, last_watermark: the range of the watermarks of all positions; None: some position has never been scheduled /
    there is none. reasons: (first word of the failure reason, positions, one example) of positions that wait or have failed.
    zombie_jobs_fenced: jobs that attempts which had been given up came to finish, and could not.
    """

    positions: dict[str, int]
    first_watermark: date | None
    last_watermark: date | None
    horizon: date | None
    reasons: list[tuple[str, int, str]]
    triggers_queued: int
    jobs_deferred: int
    dead_letters: int
    term: int
    holder: str | None
    heartbeat_age_seconds: float | None
    zombie_jobs_fenced: int = 0
    paused_at: datetime | None = None
    paused_by: str | None = None

    @property
    def total(self) -> int:
        """How many positions there are."""
        return sum(self.positions.values())

    @property
    def is_current(self) -> bool:
        """Whether every position is CURRENT and nothing is queued."""
        return self.positions.get("CURRENT", 0) == self.total and self.triggers_queued == 0


async def read_status(database: Connections) -> Status:
    """Where all positions stand, as of one moment."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        states = await sql("status_positions").fetch(connection)
        reasons = await sql("status_reasons").fetch(connection)
        work = await sql("status_work").row(connection)
    assert work is not None
    firsts = [row["first_watermark"] for row in states]
    lasts = [row["last_watermark"] for row in states if row["last_watermark"] is not None]
    horizons = [row["horizon"] for row in states if row["horizon"] is not None]
    return Status(
        positions={row["state"]: row["positions"] for row in states},
        first_watermark=min(firsts) if firsts and None not in firsts else None,
        last_watermark=max(lasts, default=None),
        horizon=max(horizons, default=None),
        reasons=[(row["reason"], row["positions"], row["example"]) for row in reasons],
        **dict(work),
    )


async def list_jobs(
    database: Connections,
    *,
    status: str | None = None,
    portfolio: str | None = None,
    security: str | None = None,
    job: int | None = None,
    most: int = 50,
) -> list[dict[str, Any]]:
    """The newest jobs that fit, newest first. Raises UsageError for a status that does not exist."""
    if status is not None and status not in set(JobStatus):
        raise UsageError(f"no job status {status!r}: one of {', '.join(JobStatus)}")
    async with database.connection() as connection:
        rows = await sql("jobs_list").fetch(
            connection, status=status, portfolio=portfolio, security=security, job=job, most=most
        )
    return [dict(row) for row in rows]


async def read_job(database: Connections, job_id: int) -> dict[str, Any]:
    """One job with its dead letters. Raises NotFoundError."""
    found = await list_jobs(database, job=job_id)
    if not found:
        raise NotFoundError(f"there is no valuation job {job_id}")
    async with database.connection() as connection:
        letters = await sql("job_dead_letters").fetch(connection, job=job_id)
    return {**found[0], "dead_letters": [dict(letter) for letter in letters]}


async def list_dead_letters(
    database: Connections, *, still_failed: bool, most: int
) -> list[dict[str, Any]]:
    """The newest dead letters, newest first; `still_failed`: without those whose job was taken up again or superseded."""
    async with database.connection() as connection:
        rows = await sql("dead_letters").fetch(connection, still_failed=still_failed, most=most)
    return [dict(row) for row in rows]


async def list_failed_jobs(database: Connections) -> list[int]:
    """The jobs that failed for good and are still owed."""
    async with database.connection() as connection:
        rows = await sql("failed_jobs").fetch(connection)
    return [row["job_id"] for row in rows]


async def retry_jobs(database: Connections, job_ids: list[int]) -> list[int]:
    """Takes failed and waiting jobs up again, with fresh attempts; returns those that could be (current epoch only)."""
    async with database.transaction() as connection:
        rows = await sql("retry_jobs").fetch(connection, jobs=job_ids)
        await connection.execute("NOTIFY revalue_wake")
    return [row["job_id"] for row in rows]


async def queue_depth(database: Connections) -> dict[str, int]:
    """What the scheduler could do now: queued triggers, deferred jobs that are due, and retries that are deferred."""
    async with database.connection() as connection:
        row = await sql("queue_depth").row(connection)
    assert row is not None
    return dict(row)


async def count_position_days(database: Connections) -> int:
    """How many position-days have at least one row."""
    async with database.connection() as connection:
        return int(await sql("position_days").value(connection))
