"""Endpoints of one position: its values by date, the changes of a value, and its explanation."""

from dataclasses import asdict
from datetime import date, timedelta

from fastapi import APIRouter, Request, Response

from revalue.console.web.auth import ReadCaller
from revalue.console.web.parameters import (
    BusinessDay,
    FirstDate,
    KnownAt,
    LastDate,
    Limit,
    Portfolio,
    Queries,
    Security,
    require_order,
)
from revalue.console.web.problems import responses
from revalue.console.web.responses import rows_response
from revalue.console.web.schemas.positions import Changes, Explanation, History
from revalue.engine.read.explain import explain

router = APIRouter(
    prefix="/positions/{portfolio}/{security}",
    tags=["positions"],
    responses=responses(400, 403, 404, 406, 410, 422, 503, rows=True),
)


@router.get(
    "/history", response_model=History, summary="List the values of a position by business day"
)
async def get_history(
    request: Request,
    portfolio: Portfolio,
    security: Security,
    answers: Queries,
    caller: ReadCaller,
    first: FirstDate = date.min,
    last: LastDate = date.max,
    known_at: KnownAt = None,
    limit: Limit = 200,
) -> Response:
    """The valued dates of the published version. `next` is the `from` of the next page."""
    require_order(first, last)
    head, rows = await answers.history(
        caller.require_portfolio(portfolio), security, first, last, limit=limit, known_at=known_at
    )
    is_full = len(rows) == limit and rows[-1]["date"] < last
    return await rows_response(
        request, History, head, rows, rows[-1]["date"] + timedelta(1) if is_full else None
    )


@router.get(
    "/changes", response_model=Changes, summary="List every value that a position had on a date"
)
async def list_changes(
    request: Request,
    portfolio: Portfolio,
    security: Security,
    answers: Queries,
    caller: ReadCaller,
    day: BusinessDay,
) -> Response:
    """Every value that readers have seen, oldest first, with its cause and the changed inputs."""
    head, rows = await answers.changes(caller.require_portfolio(portfolio), security, day)
    rows = [caller.without_author(row) for row in rows]
    return await rows_response(request, Changes, head, rows)


@router.get("/explain", response_model=Explanation, summary="Explain the value of a position")
async def explain_value(
    request: Request,
    portfolio: Portfolio,
    security: Security,
    answers: Queries,
    caller: ReadCaller,
    day: BusinessDay,
) -> Response:
    """The inputs and the arithmetic, recomputed from the present data.

    `verdict` says whether the stored row agrees.
    """
    found = await explain(answers.database, caller.require_portfolio(portfolio), security, day)
    head = {
        **asdict(found),
        "stored": found.stored and caller.without_author(found.stored),
        "verdict": found.verdict,
        "reprocessing_status": found.position["reprocessing_status"],
    }
    return await rows_response(
        request,
        Explanation,
        head,
        [{"step": number, "text": step} for number, step in enumerate(found.steps, 1)],
    )
