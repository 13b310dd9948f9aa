"""The live console: its page at `/`, the page's files, and `GET /events`, a stream of how the engine stands.

However many listen, one poller asks the database, and only while someone does. It has no connection between two polls.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from time import monotonic, time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from revalue.console.json_values import to_json_value
from revalue.console.web.auth import Reading
from revalue.engine import logs
from revalue.engine.errors import TransientError
from revalue.engine.operate.console_feed import LAG_BOUNDS, picture
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

router = APIRouter(include_in_schema=False)
_log = logs.logger("console")

_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_SAFE = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_AWAY = "The database is away or too busy to answer. The numbers are those of its last answer; they go on when it is back."


class Feed:
    """Polls for all who listen, and remembers the last `samples` polls. A slow listener misses polls, never the last one."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        seconds: float = 1,
        listeners: int = 32,
        samples: int = 600,
        heartbeat_seconds: float = 10,
        stream_seconds: float = 300,
    ) -> None:
        self._database, self._settings = database, settings
        self._seconds, self._most = seconds, listeners
        self._heartbeat_seconds, self._stream_seconds = heartbeat_seconds, stream_seconds
        self._samples: deque[dict[str, Any]] = deque(maxlen=samples)
        self._told = asyncio.Condition()
        self._number, self._last = 0, b""
        self._listening = 0
        self._ended = False
        self._poller: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds a place among the listeners, and the poller running; 503 when all are taken."""
        if self._listening >= self._most:
            raise HTTPException(503, f"{self._most} pages listen already", {"Retry-After": "10"})
        self._listening += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._listening -= 1
            if not self._listening:
                await self.close()

    async def close(self) -> None:
        """Ends the poller."""
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()

    def end(self) -> None:
        """Lets every stream end after its next poll: the server stops. For a signal handler."""
        self._ended = True

    async def events(self) -> AsyncIterator[bytes]:
        """The samples so far, then every poll. It ends after a while, so that a token is looked at again."""
        until, seen = monotonic() + self._stream_seconds, self._number
        yield _event("history", {"lag_bounds": LAG_BOUNDS, "samples": list(self._samples)})
        while monotonic() < until and not self._ended:
            try:
                async with asyncio.timeout(self._heartbeat_seconds), self._told:
                    while self._number == seen:
                        await self._told.wait()
                    seen, event = self._number, self._last
            except TimeoutError:
                event = b": still here\n\n"
            yield event

    async def _poll(self) -> None:
        while self._poller is asyncio.current_task():  # a driver may lose a cancellation
            begun = monotonic()
            await self._tell(await self._ask())
            taken = monotonic() - begun
            # Where an answer is dear it is asked for less often: a fifth of the time at most.
            await asyncio.sleep(max(self._seconds - taken, 4 * taken))

    async def _ask(self) -> bytes:
        try:
            found = await picture(self._database, self._settings)
        except TransientError:
            return _event("away", {"message": _AWAY})
        except Exception as error:  # a poller that ended would leave all who listen without a word
            _log.error("the console's question failed", error=f"{type(error).__name__}: {error}")
            return _event(
                "away", {"message": f"The database does not answer as it should: {error}"}
            )
        sample = {"at": time(), "lags": found.lags, "rows_per_second": found.rows_per_second}
        self._samples.append(sample)
        return _event("state", {**found.state, "sample": sample})

    async def _tell(self, event: bytes) -> None:
        async with self._told:
            self._number, self._last = self._number + 1, event
            self._told.notify_all()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(to_json_value(data))}\n\n".encode()


async def _place(request: Request, caller: Reading) -> AsyncIterator[Feed]:
    caller.whole()
    feed: Feed = request.app.state.feed
    async with feed.place():
        yield feed


@router.get("/events")
async def events(feed: Annotated[Feed, Depends(_place)]) -> StreamingResponse:
    """Server-sent events: `history` once, then `state` every second, or `away`. Not for tokens limited to portfolios."""
    headers = {
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(feed.events(), media_type="text/event-stream", headers=headers)


_FILES = {
    each.name: each.read_bytes()
    for each in files(__package__).joinpath("pages").iterdir()
    if each.is_file()
}


@router.get("/")
async def page(request: Request) -> Response:
    """The console. It needs no token: what it shows does."""
    return asset(request, "index.html")


@router.get("/console/{name}")
def asset(request: Request, name: str) -> Response:
    """A file of the page."""
    body, kind = _FILES.get(name), _KINDS.get(name.rpartition(".")[2])
    if body is None or kind is None:
        raise HTTPException(404, f"the console has no file {name!r}")
    headers = {**_SAFE, "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)
