"""Headers that tell a browser what it may do with a response, on every response."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    # A response is no page, and nothing may load it: the page at / sets its own policy.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_YEAR = 31_536_000


def add_security_headers(headers: MutableHeaders, *, is_tls: bool) -> None:
    """Add the headers that a response does not set itself."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if is_tls:
        headers.setdefault("Strict-Transport-Security", f"max-age={_YEAR}")


class SecurityHeaders:
    """Add them to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                add_security_headers(headers, is_tls=scope.get("scheme") == "https")
            await send(message)

        await self._app(scope, receive, send_with_headers)
