"""Portfolios: the lines of a date, and the totals of dates."""

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from revalue.console.web.auth import Reading
from revalue.console.web.parameters import (
    Answering,
    Day,
    KnownAt,
    Most,
    Name,
    require_order,
    require_text,
)
from revalue.console.web.problems import responses
from revalue.console.web.responses import answer
from revalue.console.web.schemas import Positions, Totals

router = APIRouter(
    prefix="/portfolios",
    tags=["portfolios"],
    responses=responses(400, 403, 404, 406, 422, 503, rows=True),
)


def _flag(head: dict[str, Any]) -> dict[str, Any]:
    return {
        **head,
        "reprocessing_status": "IN_PROGRESS" if head["positions_reprocessing"] else "CURRENT",
    }


@router.get("/{portfolio}/positions", response_model=Positions)
async def positions(
    request: Request,
    portfolio: Name,
    answers: Answering,
    caller: Reading,
    as_of: Day,
    known_at: KnownAt = None,
    after: Annotated[str, Query(max_length=200)] = "",
    limit: Most = 200,
) -> Response:
    """The lines on the last business date at or before as_of. Cursor: the last security_id."""
    head, rows = await answers.positions(
        caller.named(portfolio), as_of, after=require_text(after), limit=limit, known_at=known_at
    )
    return answer(
        request,
        Positions,
        _flag(head),
        rows,
        rows[-1]["security_id"] if len(rows) == limit else None,
    )


@router.get("/{portfolio}/valuation", response_model=Totals)
async def valuation(
    request: Request,
    portfolio: Name,
    answers: Answering,
    caller: Reading,
    first: Annotated[date, Query(alias="from")],
    last: Annotated[date, Query(alias="to")],
    known_at: KnownAt = None,
    limit: Most = 200,
) -> Response:
    """Totals, one a business date. Lines that are stale, wait or are missing are counted and named, not summed as 0. The
    cursor is the next page's `from`."""
    require_order(first, last)
    head, rows = await answers.totals(
        caller.named(portfolio), first, last, limit=limit, known_at=known_at
    )
    full = len(rows) == limit and rows[-1]["date"] < last
    return answer(
        request, Totals, _flag(head), rows, rows[-1]["date"] + timedelta(1) if full else None
    )
