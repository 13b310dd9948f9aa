"""Where the engine stands: what is being corrected, jobs, dead letters, stuck keys, health."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from console.web.answering import answer
from console.web.asking import Answering, Most, require_text
from console.web.problems import RESPONSES
from engine.store import reports, schema
from engine.store.answers import LAST_ID

router = APIRouter(tags=["operations"], responses=RESPONSES)

Before = Annotated[int, Query(ge=0, le=LAST_ID)]


@router.get("/reprocessing")
async def reprocessing(request: Request, answers: Answering) -> Response:
    """Keys by state, why keys wait, triggers that are queued, the leader, and the corrections that keys are on."""
    status = await reports.status(answers.database)
    under_way = await answers.corrections(most=200)
    head = {**asdict(status), "is_current": status.is_current}
    head["reasons"] = [{"reason": r, "keys": keys, "example": example} for r, keys, example in status.reasons]
    return answer(request, head, under_way)


@router.get("/jobs")
async def jobs(
    request: Request, answers: Answering, status: str | None = None, before: Before = LAST_ID, limit: Most = 200
) -> Response:
    """Jobs, newest first. Cursor: the last job_id, as `before`."""
    rows = await answers.jobs(status=status and require_text(status), before=before, most=limit)
    return answer(request, {}, rows, rows[-1]["job_id"] if len(rows) == limit else None)


@router.get("/dead-letters")
async def dead_letters(request: Request, answers: Answering, before: Before = LAST_ID, limit: Most = 200) -> Response:
    """Jobs that failed for good, newest first. Cursor: the last dead_letter_id, as `before`."""
    rows = await answers.letters(before=before, most=limit)
    return answer(request, {}, rows, rows[-1]["dead_letter_id"] if len(rows) == limit else None)


@router.get("/keys/stuck")
async def stuck(request: Request, answers: Answering, after: Before = 0, limit: Most = 200) -> Response:
    """Keys that wait, failed or are being corrected. Cursor: the last position_id, as `after`."""
    rows = await answers.stuck(after=after, most=limit)
    return answer(request, {}, rows, rows[-1]["position_id"] if len(rows) == limit else None)


@router.get("/health/live")
async def live() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/health/ready")
async def ready(answers: Answering) -> dict[str, str]:
    """The database answers and has the schema of this version; else 503."""
    await schema.require_head(answers.database.url)
    return {"status": "ok"}
