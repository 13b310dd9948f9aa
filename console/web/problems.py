"""Errors as application/problem+json (RFC 9457): the engine's own, and calls that do not fit the schema."""

from typing import Any

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from engine.errors import NotFoundError, NotYetKnownError, RevalueError, TransientError, UsageError


class Problem(BaseModel):
    """What is wrong. type: about:blank, or the engine's name of the error."""

    type: str
    title: str
    status: int
    detail: str


RESPONSES: dict[int | str, dict[str, Any]] = {code: {"model": Problem, "description": "See detail"} for code in (404, 422, 503)}


def problem(status: int, title: str, detail: str, kind: str = "about:blank") -> JSONResponse:
    """The answer."""
    body = Problem(type=kind, title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Gives every error of the app this form."""
    app.add_exception_handler(RevalueError, _engine)
    app.add_exception_handler(asyncpg.QueryCanceledError, _slow)
    app.add_exception_handler(RequestValidationError, _call)
    app.add_exception_handler(HTTPException, _http)


async def _engine(request: Request, error: Exception) -> JSONResponse:
    status = 500
    if isinstance(error, NotFoundError):
        status = 404
    elif isinstance(error, NotYetKnownError):
        status = 400
    elif isinstance(error, UsageError):
        status = 422
    elif isinstance(error, TransientError):
        status = 503
    name = type(error).__name__
    return problem(status, name, str(error), f"urn:revalue:{name}")


async def _slow(request: Request, error: Exception) -> JSONResponse:
    return problem(503, "StatementTimeout", "the answer took longer than a request may: ask for less, or later")


async def _call(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
    return problem(422, "Wrong call", said)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(error.status_code, "HTTP error", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer
