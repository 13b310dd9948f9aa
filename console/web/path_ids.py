"""Ids in the path of a URL. They are free text: a slash in one must not end its segment.

Servers decode the path before they give it to the application, so that `%2F` becomes a slash like
those between the segments. Here each segment is decoded by itself. Encoded are left in it, for the
routing, the slash and the percent sign; `decode_id` decodes these.
"""

from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send


class SegmentedPath:
    """Route by the segments of the path that was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = scope.get("raw_path")  # optional in ASGI
        if scope["type"] == "http" and sent:
            segments = (unquote(each) for each in sent.decode("latin-1").split("/"))
            path = "/".join(each.replace("%", "%25").replace("/", "%2F") for each in segments)
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


def decode_id(segment: str) -> str:
    """Return the id that is a whole segment of a SegmentedPath."""
    return unquote(segment)
