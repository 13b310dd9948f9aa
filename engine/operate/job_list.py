"""Lists of jobs, page by page, each in a bounded time however many jobs there are.

No index follows the status of a job: it would cost every job. So a page is read from where the
jobs in question stand: failed ones have dead letters, pending ones are deferred, those that wait
for data have left holes, those of few positions are found by position. Any other list looks at a
bounded number of the newest jobs, so a page can be shorter than its limit and yet have a next one.
"""

from dataclasses import dataclass
from typing import Any

from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import NotFoundError, UsageError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

MAX_ID = 2**63 - 1
"""The greatest id of a job, a dead letter or a position."""

WINDOW = 50_000
"""The number of jobs that one page looks at."""

_JOBS_BY_POSITION = 20_000
_FEW_POSITIONS = 2_000
_NEWEST = 20_000

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list. A filter that is None does not apply.

    Attributes:
        status: only jobs in this state.
        portfolio: only jobs of this portfolio.
        portfolios: only jobs of these portfolios.
        security: only jobs of this security.
    """

    status: str | None = None
    portfolio: str | None = None
    portfolios: list[str] | None = None
    security: str | None = None

    def __post_init__(self) -> None:
        """Check the status.

        Raises:
            UsageError: there is no such status.
        """
        if self.status is not None and self.status not in set(JobStatus):
            raise UsageError(
                f"there is no job status {self.status!r}: give one of {', '.join(JobStatus)}"
            )


@dataclass(frozen=True)
class _Found:
    """Ids of jobs, the newest first, and the cursor of the next page; None: this is the last."""

    jobs: list[int]
    next: int | None


async def page_of_jobs(
    database: Connections, wanted: JobFilter, *, before: int = MAX_ID, limit: int
) -> tuple[Rows, int | None]:
    """Return the newest jobs that fit, the newest first, and the cursor of the next page.

    A page can have fewer jobs than `limit`, or none, and a cursor. The cursor is None if and only
    if there are no more.

    Args:
        database: the database to ask.
        wanted: which jobs.
        before: only jobs with a smaller id: the cursor of the page before.
        limit: at most this many jobs.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        found = await _find(connection, wanted, before, limit)
        rows = await sql("jobs").fetch(connection, jobs=found.jobs)
    return [dict(row) for row in rows], found.next


async def list_jobs(
    database: Connections,
    *,
    status: str | None = None,
    portfolio: str | None = None,
    portfolios: list[str] | None = None,
    security: str | None = None,
    limit: int = 50,
) -> Rows:
    """Return the newest jobs that fit, the newest first, from as many pages as it takes.

    Raises:
        UsageError: there is no such status.
    """
    wanted = JobFilter(status, portfolio, portfolios, security)
    rows: Rows = []
    before: int | None = MAX_ID
    while before is not None and len(rows) < limit:
        page, before = await page_of_jobs(database, wanted, before=before, limit=limit - len(rows))
        rows += page
    return rows


async def read_job(database: Connections, job_id: int) -> dict[str, Any]:
    """Return one job, with its dead letters under `dead_letters`, the oldest first.

    Raises:
        NotFoundError: there is no such job.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        found = await sql("jobs").row(connection, jobs=[job_id])
        letters = await sql("job_dead_letters").fetch(connection, job=job_id)
    if found is None:
        raise NotFoundError(f"there is no valuation job {job_id}")
    return {**found, "dead_letters": [dict(row) for row in letters]}


async def _find(connection: Connection, wanted: JobFilter, before: int, limit: int) -> _Found:
    positions = await _positions(connection, wanted)
    page = {"before": before, "limit": limit, "positions": positions}
    match wanted.status:
        case JobStatus.FAILED:
            return _full_page(await _ids(connection, "newest_failed_jobs", **page), limit)
        case JobStatus.PENDING:
            ids = await _ids(connection, "newest_pending_jobs", newest=_NEWEST, **page)
            return _full_page(ids, limit)
        case JobStatus.WAITING_FOR_DATA:
            return await _find_with_holes(connection, page)
    if positions is None or len(positions) > _FEW_POSITIONS:
        return await _find_newest(connection, wanted.status, page)
    return await _find_by_position(connection, wanted.status, page)


async def _positions(connection: Connection, wanted: JobFilter) -> list[int] | None:
    """Return the positions of a filter; None: all."""
    if (wanted.portfolio, wanted.portfolios, wanted.security) == (None, None, None):
        return None
    rows = await sql("filtered_positions").fetch(
        connection,
        portfolio=wanted.portfolio,
        portfolios=wanted.portfolios,
        security=wanted.security,
    )
    return [row["position_id"] for row in rows]


async def _find_newest(connection: Connection, status: str | None, page: dict[str, Any]) -> _Found:
    first = await sql("job_window").value(connection, before=page["before"], jobs=WINDOW)
    jobs = await _ids(connection, "newest_jobs", status=status, first_job=first or 0, **page)
    return _Found(jobs, jobs[-1] if len(jobs) == page["limit"] else first)


async def _find_by_position(
    connection: Connection, status: str | None, page: dict[str, Any]
) -> _Found:
    each = min(page["limit"], max(2, _JOBS_BY_POSITION // max(1, len(page["positions"]))))
    rows = await sql("jobs_of_positions").fetch(connection, status=status, each=each, **page)
    return _bounded(rows, page["limit"])


async def _find_with_holes(connection: Connection, page: dict[str, Any]) -> _Found:
    rows = await sql("positions_with_holes").fetch(
        connection, positions=page["positions"], limit=_FEW_POSITIONS + 1
    )
    if len(rows) <= _FEW_POSITIONS:
        few = {**page, "positions": [row["position_id"] for row in rows]}
        return _full_page(await _ids(connection, "jobs_with_holes", **few), page["limit"])
    return _bounded(
        await sql("newest_jobs_with_holes").fetch(connection, rows=_NEWEST, **page), page["limit"]
    )


def _bounded(rows: list[Any], limit: int) -> _Found:
    """Of rows with `since`: how far back the list is complete."""
    jobs = [row["job_id"] for row in rows if row["job_id"] is not None]
    return _Found(jobs, jobs[-1] if len(jobs) == limit else rows[0]["since"])


def _full_page(jobs: list[int], limit: int) -> _Found:
    return _Found(jobs, jobs[-1] if len(jobs) == limit else None)


async def _ids(connection: Connection, name: str, **values: Any) -> list[int]:
    return [row["job_id"] for row in await sql(name).fetch(connection, **values)]
