"""Every request has an id: of the caller, or a new one. It is in the answer, and in every line that is logged meanwhile."""

import re
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from revalue.console.web.problems import problem
from revalue.engine import logs

HEADER = "X-Correlation-ID"

_GIVEN = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_log = logs.logger("web")


class Correlation:
    """Binds the id, and turns an error that nobody foresaw into an answer that names it; the log has the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        correlation_id = given if _GIVEN.fullmatch(given) else uuid.uuid4().hex
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[HEADER] = correlation_id
            await send(message)

        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
            try:
                await self._app(scope, receive, told)
            except Exception:
                _log.error(
                    "request failed", method=scope["method"], path=scope["path"], exc_info=True
                )
                if started:
                    raise  # half an answer must not look like a whole one
                detail = f"an error that was not foreseen: the server's log has it under correlation_id {correlation_id}"
                await problem(500, "Internal Server Error", detail)(scope, receive, told)
