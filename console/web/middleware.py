"""Requests that are refused before they reach an endpoint: large or slow bodies, other hosts."""

from asyncio import timeout
from collections.abc import Sequence
from time import monotonic

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from revalue.console.web.problems import problem

BYTES_PER_SECOND = 32_000
"""The speed at which a client sends a body and reads a response, at least."""


class BodyLimit:
    """Refuse a body of more than `max_bytes` with 413, and one that does not come with 408.

    The bytes are counted as they arrive, because a request need not give its length. A part has to
    arrive every `idle_seconds`, and all of them at BYTES_PER_SECOND.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, idle_seconds: float) -> None:
        self._app = app
        self._max_bytes, self._idle_seconds = max_bytes, idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, waited, is_whole = 0, 0.0, False

        async def receive_counted() -> Message:
            nonlocal received, waited, is_whole
            if is_whole:  # what comes is the end of the connection, when it comes
                return await receive()
            left = self._idle_seconds + received / BYTES_PER_SECOND - waited
            began = monotonic()
            try:
                async with timeout(min(left, self._idle_seconds)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408,
                    f"after {received:,} bytes the body did not arrive in time: a part every "
                    f"{self._idle_seconds:g} s, and {BYTES_PER_SECOND:,} bytes per second",
                    {"Connection": "close"},
                ) from None
            waited += monotonic() - began
            is_whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, f"the body is larger than {self._max_bytes:,} bytes")
            return message

        await self._app(scope, receive_counted if scope["type"] == "http" else receive, send)


class HostNames:
    """Refuse a request that calls this server by another name with 400. `*` allows every name.

    A page of another site may have pointed its own name at this machine (DNS rebinding).
    TrustedHostMiddleware of Starlette is not used: it refuses with plain text that does not name
    the allowed hosts, and every error of this API is a problem document.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or "*" in self._names
            or self._is_allowed(Headers(scope=scope).get("host", ""))
        ):
            await self._app(scope, receive, send)
            return
        detail = (
            f"allowed host names: {', '.join(sorted(self._names))}; "
            "a server that requires tokens (--require-token) allows every name"
        )
        await problem(400, "Bad Request", detail)(scope, receive, send)

    def _is_allowed(self, host: str) -> bool:
        """Compare the name without its port; an IPv6 address is in brackets."""
        name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        return name.lower() in self._names


class HeadAsGet:
    """Answer HEAD with the headers that GET has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app({**scope, "method": "GET"}, receive, send_headers)
