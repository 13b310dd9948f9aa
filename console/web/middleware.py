"""What is refused before it is looked at: bodies that are too large, and names that are not this server's."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from revalue.console.web.problems import problem


class BodyLimit:
    """Refuses a body of more than `most` bytes with 413, whether it says its length or not: it is read before it is known
    who sends it."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most:
                raise HTTPException(413, f"the body is larger than {self._most:,} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


class HostNames:
    """Refuses a request that calls this server by another name with 400: a page of another site may have pointed its own
    name at this machine. `*` is any name."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or "*" in self._names
            or self._named(Headers(scope=scope).get("host", ""))
        ):
            await self._app(scope, receive, send)
            return
        told = f"this server answers to {', '.join(sorted(self._names))} only; with tokens (--require-token) to any name"
        await problem(400, "Bad Request", told)(scope, receive, send)

    def _named(self, host: str) -> bool:
        """Without its port; an IPv6 address stands in brackets."""
        name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        return name.lower() in self._names
