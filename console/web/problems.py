"""Error responses in one form: application/problem+json (RFC 9457)."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from revalue.console.web.responses import OTHER_MEDIA_TYPES
from revalue.engine import logs
from revalue.engine.errors import (
    AccessDeniedError,
    CorrectionRefusedError,
    DatabaseSetupError,
    InvalidInputError,
    NoLongerKnownError,
    NotFoundError,
    NotYetKnownError,
    RequestInProgressError,
    RevalueError,
    StorageSetupError,
    TransientError,
    UsageError,
)

PROBLEM = "application/problem+json"
_log = logs.logger("web")


class Problem(BaseModel):
    """An error."""

    type: str = Field(description="`urn:revalue:` and the name of the error, or about:blank.")
    title: str = Field(description="Name of the error, or the reason phrase of the status.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What is wrong with this request.")


_DESCRIPTIONS = {
    400: "Bad request: a time in the future, a body that cannot be read, or no Idempotency-Key",
    401: "Missing or invalid bearer token",
    403: "Forbidden: the token lacks the scope or the portfolio",
    404: "Not found",
    406: "Not acceptable: no media type of Accept is available",
    408: "The body did not arrive in time",
    409: "Not allowed in the current state",
    410: "Gone: a time before the retention floor",
    413: "Request body too large",
    415: "Unsupported media type",
    422: "The request does not match this description",
    429: "Too many requests of this client wait, or too many previews",
    503: "Service unavailable: the server or the database is busy or unavailable, or the "
    "statement timed out",
}


def responses(
    *codes: int, rows: bool = False, open_to_all: bool = False
) -> dict[int | str, dict[str, Any]]:
    """Describe the responses of an endpoint for the OpenAPI document.

    Args:
        codes: status codes of its errors.
        rows: whether the response has rows, so that it has other media types than JSON, and 304.
        open_to_all: whether it needs no token; all other endpoints have 401, 429
            and 503 too, and those with a body 408.
    """
    every = set(codes) if open_to_all else {401, 429, 503, *codes}
    if 413 in every:
        every.add(408)
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    described: dict[int | str, dict[str, Any]] = {
        code: {"description": _DESCRIPTIONS[code], "content": content} for code in sorted(every)
    }
    if rows:
        types: dict[str, Any] = {name: {"schema": {"type": "string"}} for name in OTHER_MEDIA_TYPES}
        described[200] = {"content": types}
        described[304] = {"description": "Not modified: the ETag is one of If-None-Match"}
    return described


def problem(status: int, title: str, detail: str, kind: str = "about:blank") -> JSONResponse:
    """Return an error response. `kind` is its `type`."""
    body = Problem(type=kind, title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status_code=status, media_type=PROBLEM)


def install(app: FastAPI) -> None:
    """Give every error of the application this form, and describe it in the OpenAPI document."""
    app.add_exception_handler(RevalueError, _engine_error)
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign]
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _engine_error(request: Request, error: Exception) -> JSONResponse:
    name, status, detail = type(error).__name__, status_of(error), str(error)
    asked = {"method": request.method, "path": request.url.path}
    correlation_id = structlog.contextvars.get_contextvars().get("correlation_id")
    if not _may_know(request, error):
        _log.warning("request failed", **asked, reason=f"{name}: {detail}")
        detail = (
            "the database or the lake is unavailable or busy, or refuses the server; "
            f"see correlation_id {correlation_id} in the log"
        )
    elif status == 500:  # of the server or its database: its operator has to see it
        _log.error("request failed", **asked, exc_info=error)
        detail = f"{detail}; see correlation_id {correlation_id} in the log"
    response = problem(status, name, detail, f"urn:revalue:{name}")
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _may_know(request: Request, error: Exception) -> bool:
    """Return whether a caller is told what an error says of the database or the lake's storage.

    It may name users, addresses, processes and folders.

    Whoever may operate all of it is.
    """
    if not isinstance(error, TransientError | DatabaseSetupError | StorageSetupError):
        return True
    caller = getattr(request.state, "caller", None)
    return caller is not None and "operate" in caller.scopes and caller.portfolios is None


def is_failure(error: BaseException) -> bool:
    """Return whether it is an error of the work, and no end of the task or of the process.

    A panic of polars or of another library in Rust is one, but no Exception; each library has its
    own class.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an error of the engine."""
    status = 500
    if isinstance(error, NotFoundError):
        status = 404
    elif isinstance(error, NotYetKnownError):
        status = 400
    elif isinstance(error, NoLongerKnownError):
        status = 410
    elif isinstance(error, CorrectionRefusedError | RequestInProgressError):
        status = 409
    elif isinstance(error, UsageError | InvalidInputError):
        status = 422
    elif isinstance(error, AccessDeniedError):
        status = 403
    elif isinstance(error, TransientError):
        status = 503
    return status


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with Problem instead of the validation errors of FastAPI."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = document["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    messages = dict.fromkeys(f"{_location(each['loc'])}: {each['msg']}" for each in error.errors())
    return problem(422, HTTPStatus(422).phrase, "; ".join(messages))


def _location(path: Sequence[str | int]) -> str:
    """Name the place of an error, without the names that pydantic gives to branches of a union."""
    return ".".join(
        str(part) for part in path if not str(part).startswith(("tagged-union[", "list["))
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    response = problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        # Starlette names the methods of the first route of the path only.
        path = getattr(request.scope.get("route"), "path_format", None)
        described = request.app.openapi()["paths"].get(path)
        first = response.headers.get("Allow", "").split(", ")
        methods = set(first if described is None else map(str.upper, described))
        if "GET" in methods:
            methods.add("HEAD")
        response.headers["Allow"] = ", ".join(sorted(methods))
    return response
