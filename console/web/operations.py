"""Where the engine stands: what is being corrected, jobs, dead letters, stuck positions, health; and a job tried again."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from revalue.console.web.auth import Operating, Reading
from revalue.console.web.parameters import Answering, Most
from revalue.console.web.problems import responses
from revalue.console.web.responses import answer, json_response
from revalue.console.web.schemas import Health, Jobs, Letters, Reprocessing, Retried, Stuck
from revalue.engine import logs
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.operate import eta
from revalue.engine.operate.status import read_job, read_status, retry_jobs
from revalue.engine.postgres import schema
from revalue.engine.read.queries import LAST_ID

router = APIRouter(tags=["operations"])
_log = logs.logger("web")

Before = Annotated[int, Query(ge=0, le=LAST_ID)]
JobId = Annotated[int, Path(ge=0, le=LAST_ID)]


@router.get(
    "/reprocessing", response_model=Reprocessing, responses=responses(403, 406, 503, rows=True)
)
async def reprocessing(request: Request, answers: Answering, caller: Reading) -> Response:
    """Positions by state, why positions wait, what is queued, the leader, how long it will take, and the corrections that positions are
    on. Not for tokens that are limited to portfolios."""
    caller.whole()
    status = await read_status(answers.database)
    left = await eta.remaining(answers.database, request.app.state.settings)
    under_way = await answers.corrections(most=200)
    head = {**asdict(status), "is_current": status.is_current, **asdict(left)}
    head["reasons"] = [
        {"reason": r, "positions": positions, "example": example}
        for r, positions, example in status.reasons
    ]
    return answer(request, Reprocessing, head, under_way)


@router.get("/jobs", response_model=Jobs, responses=responses(403, 406, 422, 503, rows=True))
async def jobs(
    request: Request,
    answers: Answering,
    caller: Reading,
    status: JobStatus | None = None,
    before: Before = LAST_ID,
    limit: Most = 200,
) -> Response:
    """Jobs, newest first. Cursor: the last job_id, as `before`."""
    rows = await answers.jobs(status=status, before=before, most=limit, portfolios=caller.limit)
    return answer(request, Jobs, {}, rows, rows[-1]["job_id"] if len(rows) == limit else None)


@router.post(
    "/jobs/{job_id}:retry", response_model=Retried, responses=responses(403, 404, 409, 422, 503)
)
async def retry(answers: Answering, caller: Operating, job_id: JobId) -> Response:
    """Takes a failed or waiting job up again, with fresh attempts. 409 when there is nothing to try: it is done, superseded
    or at work."""
    found = await read_job(answers.database, job_id)
    if caller.portfolios is not None and found["portfolio_id"] not in caller.portfolios:
        raise HTTPException(404, f"there is no valuation job {job_id}")
    if not await retry_jobs(answers.database, [job_id]):
        raise HTTPException(
            409,
            f"job {job_id} is {found['status']}, or of an epoch that is over: there is nothing to retry",
        )
    _log.info(
        "job taken up again",
        job=job_id,
        portfolio=found["portfolio_id"],
        security=found["security_id"],
        by=caller.name,
    )
    return json_response({"job_id": job_id, "status": "PENDING"})


@router.get(
    "/dead-letters", response_model=Letters, responses=responses(403, 406, 422, 503, rows=True)
)
async def dead_letters(
    request: Request,
    answers: Answering,
    caller: Reading,
    before: Before = LAST_ID,
    limit: Most = 200,
) -> Response:
    """Jobs that failed for good, newest first. Cursor: the last dead_letter_id, as `before`."""
    rows = await answers.dead_letters(before=before, most=limit, portfolios=caller.limit)
    return answer(
        request, Letters, {}, rows, rows[-1]["dead_letter_id"] if len(rows) == limit else None
    )


@router.get(
    "/positions/stuck", response_model=Stuck, responses=responses(403, 406, 422, 503, rows=True)
)
async def stuck(
    request: Request, answers: Answering, caller: Reading, after: Before = 0, limit: Most = 200
) -> Response:
    """Positions that wait, failed or are being corrected. Cursor: the last position_id, as `after`."""
    rows = await answers.stuck_positions(after=after, most=limit, portfolios=caller.limit)
    return answer(request, Stuck, {}, rows, rows[-1]["position_id"] if len(rows) == limit else None)


@router.get("/health/live", response_model=Health)
async def live() -> dict[str, str]:
    """This process answers. Without a token."""
    return {"status": "ok"}


@router.get("/health/ready", response_model=Health, responses=responses(503, open_to_all=True))
async def ready(answers: Answering) -> dict[str, str]:
    """The database answers and has the schema of this version; else 503. Without a token."""
    await schema.require_head(answers.database.url)
    return {"status": "ok"}
