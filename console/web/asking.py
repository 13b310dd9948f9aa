"""What endpoints share: the open database, names, dates and the size of a page."""

from datetime import date
from typing import Annotated

from fastapi import Depends, Path, Query, Request

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


Answering = Annotated[Answers, Depends(_answers)]
Name = Annotated[str, Path(min_length=1, max_length=200)]
Day = Annotated[date, Query()]
Most = Annotated[int, Query(ge=1, le=MOST)]
PathText = Depends(_name)
