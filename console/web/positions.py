"""One position: its valued dates, how a number came about, and every number that a date has had."""

from dataclasses import asdict
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from revalue.console.web.auth import Reading
from revalue.console.web.parameters import Answering, KnownAt, Most, Name, require_order
from revalue.console.web.problems import responses
from revalue.console.web.responses import answer
from revalue.console.web.schemas import Changes, Explained, History
from revalue.engine.read.explain import explain

router = APIRouter(
    prefix="/positions/{portfolio}/{security}",
    tags=["positions"],
    responses=responses(400, 403, 404, 406, 422, 503, rows=True),
)

OfDate = Annotated[date, Query(alias="date")]


@router.get("/history", response_model=History)
async def history(
    request: Request,
    portfolio: Name,
    security: Name,
    answers: Answering,
    caller: Reading,
    first: Annotated[date, Query(alias="from")] = date.min,
    last: Annotated[date, Query(alias="to")] = date.max,
    known_at: KnownAt = None,
    limit: Most = 200,
) -> Response:
    """Valued dates by the published history. The cursor is the next page's `from`."""
    require_order(first, last)
    head, rows = await answers.history(
        caller.named(portfolio), security, first, last, limit=limit, known_at=known_at
    )
    full = len(rows) == limit and rows[-1]["date"] < last
    return answer(request, History, head, rows, rows[-1]["date"] + timedelta(1) if full else None)


@router.get("/changes", response_model=Changes)
async def changes(
    request: Request,
    portfolio: Name,
    security: Name,
    answers: Answering,
    caller: Reading,
    day: Annotated[date, Query(alias="date")],
) -> Response:
    """Every number that the date has had, the oldest first, with its cause and the inputs that changed."""
    head, rows = await answers.changes(caller.named(portfolio), security, day)
    return answer(request, Changes, head, rows)


@router.get("/explain", response_model=Explained)
async def explanation(
    request: Request,
    portfolio: Name,
    security: Name,
    answers: Answering,
    caller: Reading,
    day: Annotated[date, Query(alias="date")],
) -> Response:
    """The inputs and the arithmetic, recomputed from today's data, and whether the stored row agrees."""
    found = await explain(answers.database, caller.named(portfolio), security, day)
    told = {
        **asdict(found),
        "verdict": found.verdict,
        "reprocessing_status": found.position["reprocessing_status"],
    }
    return answer(
        request,
        Explained,
        told,
        [{"step": number, "text": step} for number, step in enumerate(found.steps, 1)],
    )
