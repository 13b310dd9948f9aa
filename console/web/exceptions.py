"""Endpoints of the exceptions of a date: what has no value, is old, or moved far; to confirm it."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from revalue.console.web.auth import Caller, OperateCaller, ReadCaller, TokenFirst
from revalue.console.web.inputs import Body, Currency, DecimalText, SecurityId, Why
from revalue.console.web.parameters import (
    IsoDate,
    KnownAt,
    Limit,
    Queries,
    named_portfolios,
    require_text,
)
from revalue.console.web.problems import responses
from revalue.console.web.responses import json_response, rows_response
from revalue.console.web.schemas.exceptions import Confirmation, Exceptions
from revalue.engine.correct.authors import Author
from revalue.engine.correct.confirmations import confirmations
from revalue.engine.correct.confirmations.confirmations import Against, Confirmable
from revalue.engine.correct.corrections.large_moves import MOVE_PERCENT
from revalue.engine.correct.inputs.parsing import MAX_ID_CHARACTERS
from revalue.engine.errors import ReportTooLargeError
from revalue.engine.postgres.database import Database
from revalue.engine.read.exceptions import MOVERS, Limits, find_exceptions
from revalue.engine.read.moves import shown_move
from revalue.engine.read.report import Wanted

router = APIRouter(route_class=TokenFirst, tags=["exceptions"])

MAX_POSITIONS = 100_000
"""The list is made of all positions of its portfolios, for each of its pages, in memory."""

_MAX_PORTFOLIOS = 1_000
LineDate = Annotated[IsoDate, Field(description="Business day of the line.")]
_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]


@router.get(
    "/exceptions",
    response_model=Exceptions,
    responses=responses(400, 403, 404, 406, 410, 422, 503, rows=True),
    summary="List what is to be looked at on a date",
)
async def list_exceptions(
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
            description="List prices and rates that moved by more than this percentage. An "
            "instrument with a move_limit_percent has its own.",
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
    confirmed: Annotated[
        bool, Query(description="Also list the prices and rates that are confirmed.")
    ] = False,
    known_at: KnownAt = None,
    after: Annotated[
        int, Query(ge=0, le=2**31, description="Cursor: the number of lines of the pages before.")
    ] = 0,
    limit: Limit = 200,
) -> Response:
    """Positions without a value and why, values from old prices or rates, prices and rates that
    moved far, and the positions whose value moved most.

    Each line has the market value that is concerned. The list is made again for every page: give
    all pages the same `known_at`, or read them with a large `limit`, if data may change meanwhile.
    Refused for portfolios with more than 100,000 positions together.
    """
    wanted = Wanted(
        last_date=day, portfolios=named_portfolios(caller, portfolio), known_at=known_at
    )
    found = await find_exceptions(
        answers.database, wanted, Limits(move_percent, movers, confirmed), most=MAX_POSITIONS
    )
    head = {
        "dates": found.dates,
        "counts": dict(found.lines.group_by("kind", maintain_order=True).len().iter_rows()),
        "known_at": found.last_commit,
    }
    rows = found.lines.slice(after, limit).to_dicts()
    if caller.portfolios is not None:
        rows = [_without_names(row) for row in rows]
    is_last = after + limit >= len(found.lines)
    return await rows_response(request, Exceptions, head, rows, None if is_last else after + limit)


def _without_names(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line without who has confirmed it and why: both are about others."""
    return {**row, "confirmed_by": row["confirmed_by"] and "somebody", "why": None}


class PriceLine(Body):
    """The price of a security that is shown on a date."""

    kind: Literal["price"] = Field(description="What it is.")
    security_id: SecurityId
    date: LineDate

    @property
    def of(self) -> tuple[Confirmable, str]:
        """What can be confirmed, and its subject."""
        return Confirmable.PRICE, require_text(self.security_id)


class RateLine(Body):
    """The rate from local currency to base currency that is shown on a date."""

    kind: Literal["rate"] = Field(description="What it is.")
    local_currency: Currency
    base_currency: Currency
    date: LineDate

    @property
    def of(self) -> tuple[Confirmable, str]:
        """What can be confirmed, and its subject."""
        return Confirmable.RATE, f"{self.local_currency}/{self.base_currency}"


class _Confirmed(Body):
    value: DecimalText
    value_before: DecimalText | None = Field(
        None,
        description="The value from which it moved, as the line has it: 409 if it is another one "
        "now. Null: all from which it moved, as they are now.",
    )
    why: Why | None = Field(None, description="The reason in words.")


class ConfirmedPrice(PriceLine, _Confirmed):
    """A price that is right: `value` is that of the line."""


class ConfirmedRate(RateLine, _Confirmed):
    """A rate that is right: `value` is that of the line."""


_RESPONSES = responses(400, 403, 404, 413, 422, 503)


def _subject_for(caller: Caller, line: PriceLine | RateLine) -> tuple[Confirmable, str]:
    """Return what a line is of, if the caller may confirm it: a price concerns all portfolios."""
    caller.require_unlimited()
    return line.of


@router.post(
    "/exceptions:confirm",
    response_model=Confirmation,
    responses=responses(400, 403, 404, 409, 413, 422, 503),
    summary="Confirm a price or rate that moved far",
)
async def confirm_exception(
    answers: Queries,
    caller: OperateCaller,
    line: Annotated[ConfirmedPrice | ConfirmedRate, Field(discriminator="kind")],
) -> Response:
    """The list leaves the line out, until another value is shown on that date, or before it.

    409 if another value is shown by now, and no correction is in progress. A confirmation of
    another value is withdrawn. To confirm a value again changes nothing. Of a book with more than
    100,000 positions a rate needs `value_before`, and is then not compared with what is shown.
    Refused for tokens that are limited to portfolios: a price concerns all of them.
    """
    kind, subject = _subject_for(caller, line)
    author = Author(caller.name, None if line.why is None else require_text(line.why))
    against = await _against(answers.database, line)
    is_new = await confirmations.confirm(
        answers.database, kind, subject, line.date, Decimal(line.value), against, author
    )
    return _body(line, Decimal(line.value), is_confirmed=True, is_changed=is_new)


async def _against(database: Database, line: ConfirmedPrice | ConfirmedRate) -> Against:
    """Return the values before, against which a line is confirmed.

    Raises:
        CorrectionRefusedError: the value, or the one before, is another one now.
        NotFoundError: no position shows it, or nothing is before it.
        ReportTooLargeError: a rate of a large book is confirmed without the value before.
    """
    before = None if line.value_before is None else Decimal(line.value_before)
    try:
        shown = await shown_move(database, *line.of, line.date, most=MAX_POSITIONS)
    except ReportTooLargeError as error:
        if before is None:
            raise ReportTooLargeError(
                f"the book has more than {MAX_POSITIONS:,} positions, which are not all read over "
                "HTTP to find what the rate is compared with: give `value_before`, as the line has "
                "it"
            ) from error
        return Against(frozenset({before}), frozenset({before}))
    return shown.against(Decimal(line.value), before)


@router.post(
    "/exceptions:unconfirm",
    response_model=Confirmation,
    responses=_RESPONSES,
    summary="Withdraw the confirmation of a price or rate",
)
async def unconfirm_exception(
    answers: Queries,
    caller: OperateCaller,
    line: Annotated[PriceLine | RateLine, Field(discriminator="kind")],
) -> Response:
    """The list has the line again. 404 if it is not confirmed.

    Refused for tokens that are limited to portfolios.
    """
    kind, subject = _subject_for(caller, line)
    value = await confirmations.unconfirm(
        answers.database, kind, subject, line.date, Author(caller.name)
    )
    return _body(line, value, is_confirmed=False, is_changed=True)


def _body(
    line: PriceLine | RateLine, value: Decimal, *, is_confirmed: bool, is_changed: bool
) -> Response:
    return json_response(
        {
            "kind": line.kind,
            "subject": line.of[1],
            "date": line.date,
            "value": value,
            "is_confirmed": is_confirmed,
            "is_changed": is_changed,
        }
    )
