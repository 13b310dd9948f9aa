"""What endpoints share: the open database, names, dates and the size of a page."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime

from engine.errors import UsageError
from engine.store.answers import MOST, Answers


def _answers(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


def require_text(text: str) -> str:
    """PostgreSQL's text has no NUL, and UTF-8 no lone surrogates. Raises UsageError."""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise UsageError("a name has no NUL character and no lone surrogate")
    return text


async def _name(request: Request) -> None:
    for value in request.path_params.values():
        require_text(str(value))


def _recordable(moment: datetime) -> datetime:
    if not datetime(1900, 1, 1, tzinfo=UTC) <= moment <= datetime(2200, 12, 31, tzinfo=UTC):
        raise ValueError("a time between 1900 and 2200")
    return moment


KnownAt = Annotated[
    Annotated[AwareDatetime, AfterValidator(_recordable)] | None,
    Query(description="What the same call answered at this time: ISO 8601 with an offset (a + is written %2B)."),
]
Answering = Annotated[Answers, Depends(_answers)]
Name = Annotated[str, Path(min_length=1, max_length=200)]
Day = Annotated[date, Query()]
Most = Annotated[int, Query(ge=1, le=MOST)]
PathText = Depends(_name)
