"""Endpoints of portfolios: their list, positions on one date, and totals over a range of dates."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from revalue.console.web.auth import ReadCaller
from revalue.console.web.parameters import (
    FirstDate,
    IsoDate,
    KnownAt,
    LastDate,
    Limit,
    Portfolio,
    Queries,
    require_order,
    require_text,
)
from revalue.console.web.problems import responses
from revalue.console.web.responses import rows_response, unchanged_response
from revalue.console.web.schemas.portfolios import Portfolios, Positions, Totals
from revalue.engine.correct.inputs.parsing import MAX_ID_CHARACTERS

router = APIRouter(
    prefix="/portfolios",
    tags=["portfolios"],
    responses=responses(400, 403, 404, 406, 410, 422, 503, rows=True),
)


async def _version(
    answers: Queries, portfolio: str, known_at: KnownAt
) -> tuple[str | None, datetime | None]:
    """The version of a portfolio, for requests about the present."""
    return (None, None) if known_at is not None else await answers.portfolio_version(portfolio)


def _with_reprocessing_status(head: dict[str, Any]) -> dict[str, Any]:
    return {
        **head,
        "reprocessing_status": "IN_PROGRESS" if head["positions_reprocessing"] else "CURRENT",
    }


@router.get("", response_model=Portfolios, summary="List portfolios")
async def list_portfolios(
    request: Request,
    answers: Queries,
    caller: ReadCaller,
    search: Annotated[
        str,
        Query(
            max_length=MAX_ID_CHARACTERS,
            description="Only portfolios whose id contains this text, whatever the case.",
        ),
    ] = "",
    after: Annotated[
        str,
        Query(
            max_length=MAX_ID_CHARACTERS,
            description="Cursor: the last portfolio_id of the page before.",
        ),
    ] = "",
    limit: Limit = 200,
) -> Response:
    """Portfolios by portfolio_id. A token that is limited to portfolios finds its own."""
    rows = await answers.portfolios(
        require_text(search), among=caller.limit, after=require_text(after), limit=limit
    )
    last = rows[-1]["portfolio_id"] if len(rows) == limit else None
    return await rows_response(request, Portfolios, {}, rows, last)


@router.get(
    "/{portfolio}/positions",
    response_model=Positions,
    summary="List the positions of a portfolio on a date",
)
async def list_positions(
    request: Request,
    portfolio: Portfolio,
    answers: Queries,
    caller: ReadCaller,
    as_of: Annotated[
        IsoDate, Query(description="Date; the last business day at or before it is returned.")
    ],
    known_at: KnownAt = None,
    after: Annotated[
        str,
        Query(
            max_length=MAX_ID_CHARACTERS,
            description="Cursor: the last security_id of the page before.",
        ),
    ] = "",
    limit: Limit = 200,
) -> Response:
    """One line per open position, with its value on the last business day at or before `as_of`."""
    version, last_commit = await _version(answers, caller.require_portfolio(portfolio), known_at)
    if unchanged := unchanged_response(request, version, last_commit):
        return unchanged
    head, rows = await answers.positions(
        portfolio,
        as_of,
        after=require_text(after),
        limit=limit,
        known_at=known_at,
    )
    return await rows_response(
        request,
        Positions,
        _with_reprocessing_status(head),
        rows,
        rows[-1]["security_id"] if len(rows) == limit else None,
        version=version,
    )


@router.get(
    "/{portfolio}/valuation",
    response_model=Totals,
    summary="List the totals of a portfolio by business day",
)
async def list_totals(
    request: Request,
    portfolio: Portfolio,
    answers: Queries,
    caller: ReadCaller,
    first: FirstDate,
    last: LastDate,
    known_at: KnownAt = None,
    limit: Limit = 200,
) -> Response:
    """One total per business day.

    Lines that are stale, wait for data or have no value are counted and named. They are not summed
    as 0. `next` is the `from` of the next page.
    """
    require_order(first, last)
    version, last_commit = await _version(answers, caller.require_portfolio(portfolio), known_at)
    if unchanged := unchanged_response(request, version, last_commit):
        return unchanged
    head, rows = await answers.totals(portfolio, first, last, limit=limit, known_at=known_at)
    is_full = len(rows) == limit and rows[-1]["date"] < last
    return await rows_response(
        request,
        Totals,
        _with_reprocessing_status(head),
        rows,
        rows[-1]["date"] + timedelta(1) if is_full else None,
        version=version,
    )
