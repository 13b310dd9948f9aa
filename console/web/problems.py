"""Errors as application/problem+json (RFC 9457): the engine's own, and calls that do not fit the schema."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from revalue.console.web.responses import OTHER_KINDS
from revalue.engine.errors import (
    AccessDeniedError,
    CorrectionRefusedError,
    InvalidInputError,
    NotFoundError,
    NotYetKnownError,
    RevalueError,
    TransientError,
    UsageError,
)


class Problem(BaseModel):
    """What is wrong. type: about:blank, or the engine's name of the error."""

    type: str
    title: str
    status: int
    detail: str


_SAYS = {
    400: "A time in the future, or a body that cannot be read",
    401: "A bearer token is needed, or this one is not valid",
    403: "The token is not for this",
    404: "There is no such thing",
    406: "None of the kinds in Accept",
    409: "It is not in a state for this",
    413: "The body is larger than this server takes",
    415: "A body of another kind",
    422: "The call does not fit the description",
    429: "One at a time",
    503: "Later: the database is away or busy, or the answer took too long",
}


def responses(
    *codes: int, rows: bool = False, open_to_all: bool = False
) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of errors (401 too, unless it is open to all) and, for rows, of the other kinds of answers."""
    every = codes if open_to_all else (401, *codes)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    described: dict[int | str, dict[str, Any]] = {
        code: {"description": _SAYS[code], "content": content} for code in sorted(every)
    }
    if rows:
        kinds: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in OTHER_KINDS}
        described[200] = {"content": kinds}
        described[304] = {"description": "As If-None-Match has it"}
    return described


def problem(status: int, title: str, detail: str, kind: str = "about:blank") -> JSONResponse:
    """The answer."""
    body = Problem(type=kind, title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Gives every error of the app this form."""
    app.add_exception_handler(RevalueError, _engine)
    app.openapi = partial(_described, app)  # type: ignore[method-assign]
    app.add_exception_handler(RequestValidationError, _call)
    app.add_exception_handler(HTTPException, _http)


async def _engine(request: Request, error: Exception) -> JSONResponse:
    status = 500
    if isinstance(error, NotFoundError):
        status = 404
    elif isinstance(error, NotYetKnownError):
        status = 400
    elif isinstance(error, CorrectionRefusedError):
        status = 409
    elif isinstance(error, UsageError | InvalidInputError):
        status = 422
    elif isinstance(error, AccessDeniedError):
        status = 403
    elif isinstance(error, TransientError):
        status = 503
    name = type(error).__name__
    return problem(status, name, str(error), f"urn:revalue:{name}")


def _described(app: FastAPI) -> dict[str, Any]:
    """The description, with the one form of errors in place of FastAPI's own."""
    if app.openapi_schema is None:
        whole = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = whole["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = whole
    return app.openapi_schema


async def _call(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    said = dict.fromkeys(f"{_place(each['loc'])}: {each['msg']}" for each in error.errors())
    return problem(422, HTTPStatus(422).phrase, "; ".join(said))


def _place(path: Sequence[str | int]) -> str:
    """Where in the call, without the names that pydantic gives to the branches of a union."""
    return ".".join(
        str(part) for part in path if not str(part).startswith(("tagged-union[", "list["))
    )


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer
