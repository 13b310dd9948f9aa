"""The correlation id of a request, in its response and in every line that is logged for it."""

import re
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from revalue.console.web.problems import is_failure, problem
from revalue.engine import logs

HEADER = "X-Correlation-ID"

_VALID_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_log = logs.logger("web")


def new_correlation_id() -> str:
    """Return a correlation id that no other request has."""
    return uuid.uuid4().hex


class Correlation:
    """Bind the correlation id of each request: the client's, or a new one if it has no valid one.

    An unexpected error becomes a response (500) that names the id; the log has the traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        correlation_id = given if _VALID_ID.fullmatch(given) else new_correlation_id()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[HEADER] = correlation_id
            await send(message)

        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
            try:
                await self._app(scope, receive, send_with_id)
            except BaseException as error:
                if not is_failure(error):
                    raise
                _log.error(
                    "request failed", method=scope["method"], path=scope["path"], exc_info=True
                )
                if started:
                    raise  # the client must see that the response is not complete
                detail = f"unexpected error; see correlation_id {correlation_id} in the log"
                response = problem(500, "Internal Server Error", detail)
                await response(scope, receive, send_with_id)
