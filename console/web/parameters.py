"""What endpoints share: the open database, names, dates and the size of a page."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime

from revalue.engine.errors import UsageError
from revalue.engine.read.queries import MAX_LIMIT, ReaderQueries


def _answers(request: Request) -> ReaderQueries:
    answers: ReaderQueries = request.app.state.answers
    return answers


def require_text(text: str) -> str:
    """PostgreSQL's text has no NUL, and UTF-8 no lone surrogates. Raises UsageError."""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise UsageError("a name has no NUL character and no lone surrogate")
    return text


def require_order(first: date, last: date) -> None:
    """Raises UsageError for a range that ends before it begins."""
    if last < first:
        raise UsageError(f"from {first} is after to {last}")


async def _call(request: Request) -> None:
    for value in request.path_params.values():
        require_text(str(value))
    app: FastAPI = request.app
    methods = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None), {})
    described = methods.get(request.method.lower())
    if described is None:
        return
    known = {each["name"] for each in described.get("parameters", ()) if each["in"] == "query"}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise UsageError(
            f"unknown parameter {', '.join(unknown)}: {', '.join(sorted(known)) or 'none'} can be given"
        )


def _within(moment: datetime) -> datetime:
    """Times that every clock and zone can have; before and after them nothing is known."""
    return min(max(moment, datetime(1900, 1, 1, tzinfo=UTC)), datetime(2200, 12, 31, tzinfo=UTC))


KnownAt = Annotated[
    Annotated[AwareDatetime, AfterValidator(_within)] | None,
    Query(
        description="What the same call answered at this time: ISO 8601 with an offset (a + is written %2B)."
    ),
]
Answering = Annotated[ReaderQueries, Depends(_answers)]
Name = Annotated[str, Path(min_length=1, max_length=200)]
Day = Annotated[date, Query()]
Most = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Call = Depends(_call)
"""Of the whole application: names are text, and a parameter that the description does not have is an error, not ignored."""
