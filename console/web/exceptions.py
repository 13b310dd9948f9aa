"""Endpoint of the exceptions of a date: what has no value, is old, or moved far."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from revalue.console.web.auth import Caller, ReadCaller
from revalue.console.web.parameters import IsoDate, KnownAt, Limit, Queries, require_text
from revalue.console.web.problems import responses
from revalue.console.web.responses import rows_response
from revalue.console.web.schemas import Exceptions
from revalue.engine.correct.parsing import MAX_ID_CHARACTERS
from revalue.engine.read.exceptions import MOVE_PERCENT, MOVERS, Limits, find_exceptions
from revalue.engine.read.report import Wanted

router = APIRouter(tags=["exceptions"])

MAX_POSITIONS = 100_000
"""The list is made of all positions of its portfolios, for each of its pages, in memory."""

_MAX_PORTFOLIOS = 1_000
_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]


@router.get(
    "/exceptions",
    response_model=Exceptions,
    responses=responses(400, 403, 404, 406, 410, 422, 503, rows=True),
    summary="List what is to be looked at on a date",
)
async def exceptions(
    request: Request,
    answers: Queries,
    caller: ReadCaller,
    day: Annotated[
        IsoDate | None,
        Query(
            alias="date",
            description="Of each portfolio the last opened business day at or before this date. "
            "Default: the last one that is opened.",
        ),
    ] = None,
    portfolio: Annotated[
        list[_Id] | None,
        Query(
            max_length=_MAX_PORTFOLIOS,
            description="Only this portfolio; may be repeated. Default: all that the token may "
            "see.",
        ),
    ] = None,
    move_percent: Annotated[
        float,
        Query(
            ge=0,
            le=1_000_000,
            allow_inf_nan=False,
            description="List prices and rates that moved by more than this percentage.",
        ),
    ] = MOVE_PERCENT,
    movers: Annotated[
        int,
        Query(
            ge=0,
            le=1_000,
            description="List so many positions whose value moved most, per base currency.",
        ),
    ] = MOVERS,
    known_at: KnownAt = None,
    after: Annotated[
        int, Query(ge=0, le=2**31, description="Cursor: the number of lines of the pages before.")
    ] = 0,
    limit: Limit = 200,
) -> Response:
    """Positions without a value and why, values from old prices or rates, prices and rates that
    moved far since the business day before, and the positions whose value moved most.

    Each line has the market value that is concerned. The list is made again for every page: give
    all pages the same `known_at`, or read them with a large `limit`, if data may change meanwhile.
    Refused for portfolios with more than 100,000 positions together.
    """
    wanted = Wanted(last_date=day, portfolios=_portfolios(caller, portfolio), known_at=known_at)
    found = await find_exceptions(
        answers.database, wanted, Limits(move_percent, movers), most=MAX_POSITIONS
    )
    head = {
        "dates": found.dates,
        "counts": dict(found.lines.group_by("kind", maintain_order=True).len().iter_rows()),
        "known_at": found.last_commit,
    }
    rows = found.lines.slice(after, limit).to_dicts()
    is_last = after + limit >= len(found.lines)
    return await rows_response(request, Exceptions, head, rows, None if is_last else after + limit)


def _portfolios(caller: Caller, named: list[str] | None) -> tuple[str, ...] | None:
    """Return the portfolios of the list; None: all.

    Raises:
        HTTPException: 403 if the caller may not see one.
    """
    if not named:
        return caller.portfolios
    return tuple(caller.require_portfolio(require_text(each)) for each in named)
