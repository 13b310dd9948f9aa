"""Parameters that endpoints share: queries of the database, names, dates and page limits."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from revalue.console.web.auth import Caller
from revalue.console.web.path_ids import decode_id
from revalue.engine.correct.inputs.parsing import MAX_ID_CHARACTERS
from revalue.engine.errors import UsageError
from revalue.engine.read.queries import MAX_LIMIT, ReaderQueries

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _queries(request: Request) -> ReaderQueries:
    queries: ReaderQueries = request.app.state.answers
    return queries


def require_text(text: str) -> str:
    """Return the text if PostgreSQL can store it: without NUL and without lone surrogates.

    Raises:
        UsageError: it has such a character.
    """
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise UsageError("a name cannot contain a NUL character or a lone surrogate")
    return text


def _require_iso(value: object) -> object:
    """Refuse what pydantic would take for a date, too: a number of seconds since 1970."""
    if isinstance(value, str) and _ISO_DATE.fullmatch(value) is None:
        raise ValueError("write a date as YYYY-MM-DD")
    if isinstance(value, int | float):
        raise ValueError("write a date as text, YYYY-MM-DD")
    return value


def require_order(first: date, last: date) -> None:
    """Check that a range of dates, both ends included, does not end before it begins.

    Raises:
        UsageError: it does.
    """
    if last < first:
        raise UsageError(f"from {first} is after to {last}")


async def require_known_parameters(request: Request) -> None:
    """Check path and query of a request; a dependency of the whole application.

    A query parameter that the OpenAPI document does not have is an error. If it were ignored, a
    misspelt filter would return all rows.

    Raises:
        UsageError: an unknown parameter, or a name that PostgreSQL cannot store.
    """
    for value in request.path_params.values():
        require_text(str(value))
    app: FastAPI = request.app
    methods = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None), {})
    operation = methods.get(request.method.lower())
    if operation is None:
        return
    known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise UsageError(
            f"unknown parameter {', '.join(unknown)}; "
            f"known parameters: {', '.join(sorted(known)) or 'none'}"
        )


def _clamp(time: datetime) -> datetime:
    """Limit a time to years that every clock and time zone can represent.

    Nothing is known before 1900, and a time after 2200 is in the future: the response is the same.
    """
    return min(max(time, datetime(1900, 1, 1, tzinfo=UTC)), datetime(2200, 12, 31, tzinfo=UTC))


KnownAt = Annotated[
    Annotated[AwareDatetime, AfterValidator(_clamp)] | None,
    Query(
        description="Transaction time: return what the same request returned at this time. "
        "ISO 8601 with an offset (write + as %2B). Default: now."
    ),
]
Queries = Annotated[ReaderQueries, Depends(_queries)]
_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS), BeforeValidator(decode_id)]
Portfolio = Annotated[_Id, Path(description="Portfolio id.")]
Security = Annotated[_Id, Path(description="Security id.")]
IsoDate = Annotated[date, BeforeValidator(_require_iso)]
BusinessDay = Annotated[IsoDate, Query(alias="date", description="Business day.")]
FirstDate = Annotated[IsoDate, Query(alias="from", description="First date, included.")]
LastDate = Annotated[IsoDate, Query(alias="to", description="Last date, included.")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows per page.")]


def named_portfolios(caller: Caller, named: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the portfolios that a request names; if it names none, all that the caller may see.

    Returns:
        None: all there are.

    Raises:
        HTTPException: 403 if the caller may not see one.
        UsageError: one cannot be a name.
    """
    if not named:
        return caller.portfolios
    return tuple(caller.require_portfolio(require_text(each)) for each in named)
