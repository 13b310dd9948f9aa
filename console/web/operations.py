"""Endpoints for operators: progress, jobs, dead letters, stuck positions, health, and retry."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from revalue.console.web.auth import Caller, OperateCaller, ReadCaller, TokenFirst
from revalue.console.web.parameters import Limit, Queries, require_text
from revalue.console.web.problems import responses
from revalue.console.web.readiness import Readiness
from revalue.console.web.responses import json_response, rows_response
from revalue.console.web.schemas.health import Health
from revalue.console.web.schemas.jobs import DeadLetters, Jobs, RetriedJob
from revalue.console.web.schemas.openings import OpenDays, OpenedCalendars
from revalue.console.web.schemas.reprocessing import Reprocessing, StuckPositions
from revalue.engine import logs
from revalue.engine.core.lifecycle import FailureReason, JobStatus
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.errors import NotFoundError
from revalue.engine.operate.console_feed import known_left
from revalue.engine.operate.count_keeper import CountKeeper
from revalue.engine.operate.job_filter import MAX_ID, JobCursor, JobFilter
from revalue.engine.operate.job_list import page_of_jobs, portfolios_of_job, read_job
from revalue.engine.operate.status import (
    list_corrections,
    page_of_stuck_positions,
    read_status,
    retry_jobs,
)
from revalue.engine.operate.status import list_dead_letters as newest_dead_letters
from revalue.engine.postgres.statement import Rows

router = APIRouter(route_class=TokenFirst, tags=["operations"])
_log = logs.logger("web")

Before = Annotated[
    int, Query(ge=0, le=MAX_ID, description="Cursor: the last id of the page before.")
]
BeforeJob = Annotated[
    str | None,
    Query(
        pattern=f"^{JobCursor.PATTERN}$",
        description="Cursor: `next` of the page before, or the id of a job.",
    ),
]
After = Annotated[
    int, Query(ge=0, le=MAX_ID, description="Cursor: the last position_id of the page before.")
]
Status = Annotated[JobStatus | None, Query(description="Only jobs with this status.")]
JobId = Annotated[int, Path(ge=0, le=MAX_ID, description="Job id.")]
Cursor = TypeVar("Cursor", int, JobCursor)


async def _page(
    caller: Caller,
    read: Callable[[Cursor, int], Awaitable[tuple[Rows, Cursor | None]]],
    cursor: Cursor,
    limit: int,
) -> tuple[Rows, Cursor | None]:
    """Return a page, and the cursor of the next one; None: this is the last.

    A page of everybody's rows may end before `limit`. That of a limited caller goes on: where it
    ends would tell how many rows of others it has passed.

    Args:
        caller: who wants it.
        read: reads the rows behind a cursor, at most so many.
        cursor: where the page before ended.
        limit: the most rows.
    """
    rows, after = await read(cursor, limit)
    while caller.portfolios is not None and after is not None and len(rows) < limit:
        more, after = await read(after, limit - len(rows))
        rows += more
    return rows, after


def _public(reason: str | None) -> str | None:
    """Return why a job waits or failed, without what an error says of processes and addresses.

    Such a reason is that of an attempt that was abandoned: it begins with the name of the error.
    """
    if reason is None or reason.partition(" ")[0] in set(FailureReason):
        return reason
    return reason.partition(":")[0]


@router.get(
    "/reprocessing",
    response_model=Reprocessing,
    responses=responses(403, 406, 503, rows=True),
    summary="Show the progress of the engine",
)
async def get_reprocessing(request: Request, answers: Queries, caller: ReadCaller) -> Response:
    """Positions by status, why positions wait or failed, the scheduler, the time left, and the
    corrections in progress.

    Many positions are counted now and then: `counted_at` says when. `is_current` is of now.

    Refused for tokens that are limited to portfolios.
    """
    caller.require_unlimited()
    counter: CountKeeper = request.app.state.counter
    counts = await counter.counts(answers.database)
    status = await read_status(answers.database, counts)
    in_progress = await list_corrections(answers.database, counts)
    left = known_left(counts, status, request.app.state.settings)
    head = {**asdict(status), "is_current": status.is_current, **asdict(left)}
    head["reasons"] = [
        {"reason": reason, "positions": positions, "example": example}
        for reason, positions, example in status.reasons
    ]
    return await rows_response(request, Reprocessing, head, in_progress)


@router.get(
    "/jobs",
    response_model=Jobs,
    responses=responses(403, 406, 422, 503, rows=True),
    summary="List valuation jobs",
)
async def list_jobs(
    request: Request,
    answers: Queries,
    caller: ReadCaller,
    status: Status = None,
    before: BeforeJob = None,
    limit: Limit = 200,
) -> Response:
    """The spans of valuation jobs, the newest job first: a job covers many positions, and each of
    them with a range of its dates is a span. A job can begin on one page and end on another.

    A page looks at a bounded number of spans: it can be shorter than `limit`, or empty, while
    `next` is not null.
    """
    wanted = JobFilter(status=status, portfolios=caller.limit)
    begin = JobCursor(MAX_ID) if before is None else JobCursor.parse(before)

    async def read(before: JobCursor, limit: int) -> tuple[Rows, JobCursor | None]:
        is_full = caller.portfolios is not None  # see _page
        return await page_of_jobs(
            answers.database, wanted, before=before, limit=limit, is_full=is_full
        )

    rows, end = await _page(caller, read, begin.with_ids(caller.meant_id), limit)
    rows = [{**row, "failure_reason": _public(row["failure_reason"])} for row in rows]
    after = None if end is None else str(end.with_ids(caller.shown_number))
    return await rows_response(request, Jobs, {}, rows, after)


@router.post(
    "/jobs/{job_id}:retry",
    response_model=RetriedJob,
    responses=responses(403, 404, 409, 422, 503),
    summary="Retry a job",
)
async def retry_job(answers: Queries, caller: OperateCaller, job_id: JobId) -> Response:
    """Value again what a job could not value: a job that failed, or its dates that wait for data.

    409 if there is nothing to retry: the job is done, superseded or in progress.
    """
    meant = caller.meant_id("job_id", job_id)
    portfolios = await portfolios_of_job(answers.database, meant)
    if not any(map(caller.sees, portfolios)):
        raise NotFoundError(f"there is no valuation job {job_id}")
    if not all(map(caller.sees, portfolios)):
        raise HTTPException(
            403,
            f"job {job_id} covers other portfolios too, to which the token {caller.name!r} has no "
            "access",
        )
    found = await read_job(answers.database, meant)
    if not await retry_jobs(answers.database, [meant]):
        raise HTTPException(
            409,
            f"job {job_id} is {found['status']}, or of an earlier epoch: there is nothing to retry",
        )
    _log.info(
        "job requeued",
        job=meant,
        spans=found["span_count"],
        portfolio=found["spans"][0]["portfolio_id"],
        security=found["spans"][0]["security_id"],
        by=caller.name,
    )
    retried = await read_job(answers.database, meant)
    return json_response({"job_id": job_id, "status": retried["status"]})


@router.post(
    "/calendars:open",
    response_model=OpenedCalendars,
    responses=responses(400, 403, 404, 409, 422, 503),
    summary="Open business days",
)
async def open_days(answers: Queries, caller: OperateCaller, wanted: OpenDays) -> Response:
    """Open calendars through a day, all of them or none. Opening a day again changes nothing.

    Refused for tokens that are limited to portfolios: a calendar serves many.
    """
    caller.require_unlimited()
    names = None if wanted.calendar_id is None else [require_text(wanted.calendar_id)]
    opened = await open_calendars(answers.database, wanted.date, names, back=wanted.back)
    return json_response({"items": [asdict(each) for each in opened]})


@router.get(
    "/dead-letters",
    response_model=DeadLetters,
    responses=responses(403, 406, 422, 503, rows=True),
    summary="List dead letters",
)
async def list_dead_letters(
    request: Request,
    answers: Queries,
    caller: ReadCaller,
    before: Before = MAX_ID,
    limit: Limit = 200,
) -> Response:
    """Jobs that failed for good, newest first."""

    async def read(before: int, limit: int) -> tuple[Rows, int | None]:
        rows = await newest_dead_letters(
            answers.database,
            still_failed=False,
            before=before,
            limit=limit,
            portfolios=caller.limit,
        )
        return rows, rows[-1]["dead_letter_id"] if len(rows) == limit else None

    begin = caller.meant_id("dead_letter_id", before)
    rows, last = await _page(caller, read, begin, limit)
    after = caller.shown_id("dead_letter_id", last)
    return await rows_response(request, DeadLetters, {}, rows, after)


@router.get(
    "/positions/stuck",
    response_model=StuckPositions,
    responses=responses(403, 406, 422, 503, rows=True),
    summary="List stuck positions",
)
async def list_stuck_positions(
    request: Request, answers: Queries, caller: ReadCaller, after: After = 0, limit: Limit = 200
) -> Response:
    """Positions that wait for data, failed or are being reprocessed, by position_id.

    A page looks at a bounded number of positions: it can be shorter than `limit`, or empty, while
    `next` is not null.
    """

    async def read(after: int, limit: int) -> tuple[Rows, int | None]:
        return await page_of_stuck_positions(
            answers.database, after=after, limit=limit, portfolios=caller.limit
        )

    rows, last = await _page(caller, read, caller.meant_id("position_id", after), limit)
    return await rows_response(
        request, StuckPositions, {}, rows, caller.shown_id("position_id", last)
    )


@router.get("/health/live", response_model=Health, summary="Check the process")
async def check_liveness() -> dict[str, str]:
    """The process responds. Needs no token."""
    return {"status": "ok"}


@router.get(
    "/health/ready",
    response_model=Health,
    responses=responses(503, open_to_all=True),
    summary="Check the database",
)
async def check_readiness(request: Request) -> dict[str, str]:
    """The database responds and has the schema of this version; else 503. Needs no token.

    As of a second ago at most. The reason is in the log.
    """
    readiness: Readiness = request.app.state.readiness
    if not await readiness.is_ready():
        raise HTTPException(503, "the database does not respond, or has another schema")
    return {"status": "ok"}
