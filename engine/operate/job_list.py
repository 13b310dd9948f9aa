"""Lists of jobs, span by span and page by page, each page in a bounded time.

A job can cover tens of thousands of positions, and be one of millions. A page looks at a bounded
number of jobs and of their spans, so it can be shorter than its limit although more pages follow.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import asyncpg

from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import NotFoundError
from revalue.engine.operate.job_filter import MAX_ID, JobCursor, JobFilter
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, Rows, statements
from revalue.engine.read.refusals import require_existing

sql = statements(__package__)

JOBS = 10_000
"""The number of jobs that one page looks at."""

SPANS = 5_000
"""The number of spans that one page looks at."""

_READ_SPANS = 250_000
_FEW_POSITIONS = 2_000
_SOME_POSITIONS = 25_000
_FEW_RANGES = 50


@dataclass(frozen=True)
class _Places:
    """Which spans of which jobs a page reads.

    Attributes:
        jobs: the ids of the jobs.
        firsts: for each job the place of its first span to read, from 1; lasts: of its last one.
    """

    jobs: Sequence[int]
    firsts: Sequence[int]
    lasts: Sequence[int]


_ALL = JobFilter()
_UNFINISHED = (JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.SUPERSEDED)
"""The states of spans of jobs that are, or can be, unfinished."""


async def page_of_jobs(
    database: Connections,
    wanted: JobFilter,
    *,
    before: JobCursor | None = None,
    limit: int,
    is_full: bool = False,
) -> tuple[Rows, JobCursor | None]:
    """Return the spans of the newest jobs that fit, the newest job first, then by position and
    date, and the cursor of the next page.

    A page can have fewer spans than `limit`, or none, and a cursor. The cursor is None if and only
    if there are no more.

    Args:
        database: the database to ask.
        wanted: which spans.
        before: the cursor of the page before; None: from the newest job on.
        limit: at most this many spans.
        is_full: read on until the page is full, or no spans are left. This takes an unbounded time.
    """
    after = before or JobCursor(MAX_ID)
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        await sql("prefer_indexes").one(connection)
        positions = await _positions(connection, wanted, _FEW_POSITIONS)
        rows, end = await _part(connection, wanted, positions, after, limit)
        if is_full and positions is None and end is not None and len(rows) < limit:
            # To look them up pays only if most spans are of others.
            positions = await _positions(connection, wanted, _SOME_POSITIONS)
        while is_full and end is not None and len(rows) < limit:
            more, end = await _part(connection, wanted, positions, end, limit - len(rows))
            rows += more
    return _shown(rows), end


async def _part(
    connection: Connection,
    wanted: JobFilter,
    positions: list[int] | None,
    before: JobCursor,
    limit: int,
) -> tuple[list[asyncpg.Record], JobCursor | None]:
    """Return the spans found in a bounded number of jobs and spans, and the next cursor."""
    found = await _jobs(connection, wanted, positions, before, limit)
    places = _Places(found["jobs"], found["first_places"], found["last_places"])
    rows = await _spans(connection, places, wanted, positions=positions, limit=limit)
    end = JobCursor(found["since"], found["since_position"], found["since_date"])
    after = None if found["since"] is None else end
    if len(rows) == limit:
        last = rows[-1]
        after = JobCursor(last["job_id"], last["position_id"], last["first_date"])
        if last["is_last"]:
            after = JobCursor(last["job_id"])
    return rows, after


async def list_jobs(
    database: Connections,
    *,
    status: str | None = None,
    portfolio: str | None = None,
    portfolios: list[str] | None = None,
    security: str | None = None,
    limit: int = 50,
) -> Rows:
    """Return the spans of the newest jobs that fit, from as many pages as it takes.

    Raises:
        UsageError: there is no such status.
        NotFoundError: there is no such portfolio or security.
    """
    wanted = JobFilter(status, portfolio, portfolios, security)
    async with database.connection() as connection:
        await require_existing(
            connection,
            portfolios=None if portfolio is None else [portfolio],
            securities=None if security is None else [security],
        )
    rows, _ = await page_of_jobs(database, wanted, limit=limit, is_full=True)
    return rows


async def read_job(database: Connections, job_id: int, *, spans: int = 1) -> dict[str, Any]:
    """Return one job as a whole.

    Args:
        database: the database to ask.
        job_id: its id.
        spans: return at most this many of its spans.

    Returns:
        The columns of the job, with `span_count`; its first spans under `spans`, as in a page; its
        dead letters under `dead_letters`, the oldest first.

    Raises:
        NotFoundError: there is no such job.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        found = await sql("job").row(connection, job=job_id)
        if found is None:
            raise NotFoundError(f"there is no valuation job {job_id}")
        first = _Places([job_id], [1], [spans])
        rows = await _spans(connection, first, _ALL, positions=None, limit=spans)
        letters = await sql("job_dead_letters").fetch(connection, job=job_id)
    return {
        **found,
        "spans": [{name: row[name] for name in _OF_A_SPAN} for row in rows],
        "dead_letters": [dict(row) for row in letters],
    }


async def require_jobs(database: Connections, job_ids: Sequence[int]) -> None:
    """Raise NotFoundError, with the ids, unless all of these jobs exist."""
    async with database.connection() as connection:
        unknown = [
            str(row["job_id"]) for row in await sql("unknown_jobs").fetch(connection, jobs=job_ids)
        ]
    if unknown:
        raise NotFoundError(f"there is no valuation job {', '.join(unknown)}; nothing is requeued")


_OF_A_SPAN = (
    "portfolio_id",
    "security_id",
    "status",
    "epoch",
    "first_date",
    "last_date",
    "valued_through",
    "trigger_id",
)


async def portfolios_of_job(database: Connections, job_id: int) -> list[str]:
    """Return the portfolios whose positions a job covers; empty: there is no such job."""
    async with database.connection() as connection:
        rows = await sql("portfolios_of_job").fetch(connection, job=job_id)
    return [row["portfolio_id"] for row in rows]


async def _positions(connection: Connection, wanted: JobFilter, most: int) -> list[int] | None:
    """Return the positions of a filter; None: all positions fit, or more than `most` do."""
    if not wanted.by_portfolio:
        return None
    given = asdict(wanted)
    del given["status"]
    found = await sql("filtered_positions").value(connection, limit=most + 1, **given)
    positions: list[int] = found or []
    return None if len(positions) > most else positions


async def _jobs(
    connection: Connection,
    wanted: JobFilter,
    positions: list[int] | None,
    before: JobCursor,
    limit: int,
) -> asyncpg.Record:
    """Return what the page looks at; see jobs_to_list.sql."""
    match wanted.status:
        case JobStatus.PENDING | JobStatus.PROCESSING:
            source = "open"
        case JobStatus.SKIPPED_NO_POSITION | JobStatus.WAITING_FOR_DATA | JobStatus.FAILED:
            source = "incomplete"
        case _:
            source = "newest"
    # If a job fits, all of its spans do, unless it is unfinished: the first ones fill the page.
    all_fit = not wanted.by_portfolio and wanted.status not in _UNFINISHED
    spans = limit if all_fit else SPANS
    is_whole = before.position_id is None
    given: dict[str, Any] = {
        "status": wanted.status,
        "firsts": None,
        "lasts": None,
        "job": before.job_id - 1 if is_whole else before.job_id,
        "position": before.position_id,
        "first_date": before.first_date,
        "most": limit + 1 if (all_fit and source != "newest") or wanted == _ALL else JOBS,
        "spans": spans,
        "read_spans": spans if positions is None else _READ_SPANS,
    }
    if positions is not None:
        firsts, lasts = _ranges(positions)
        is_short = len(firsts) <= _FEW_RANGES
        given["firsts"], given["lasts"] = (firsts, lasts) if is_short else (firsts[:1], lasts[-1:])
        if is_short and source == "newest":
            found = await sql("jobs_to_list").one(connection, source="positions", **given)
            if found["looked_at"] < JOBS:
                return found
    return await sql("jobs_to_list").one(connection, source=source, **given)


def _ranges(positions: list[int]) -> tuple[list[int], list[int]]:
    """Return the first and the last of each run of consecutive positions."""
    ordered = sorted(positions)
    ends = [one for one, two in pairwise(ordered) if two > one + 1]
    begins = [two for one, two in pairwise(ordered) if two > one + 1]
    return [*ordered[:1], *begins], [*ends, *ordered[-1:]]


async def _spans(
    connection: Connection,
    places: _Places,
    wanted: JobFilter,
    *,
    positions: list[int] | None,
    limit: int,
) -> list[asyncpg.Record]:
    return await sql("spans_of_jobs").fetch(
        connection,
        jobs=places.jobs,
        first_places=places.firsts,
        last_places=places.lasts,
        positions=positions,
        by_portfolio=wanted.by_portfolio and positions is None,
        limit=limit,
        **asdict(wanted),
    )


def _shown(rows: list[asyncpg.Record]) -> Rows:
    """Return rows without the columns that only the cursor needs."""
    return [
        {name: value for name, value in row.items() if name not in ("position_id", "is_last")}
        for row in rows
    ]
