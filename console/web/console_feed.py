"""The live console: its page at `/`, the files of the page, and the event stream `GET /events`.

One poller queries the database for all listeners, and only while there is one. It holds no
connection between two polls.
"""

import asyncio
import hashlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from time import monotonic, time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.sse import EventSourceResponse, format_sse_event

from revalue.console.json_values import to_json_value
from revalue.console.web.auth import ReadCaller
from revalue.console.web.responses import is_known
from revalue.console.web.turns import client_of
from revalue.engine import logs
from revalue.engine.errors import TransientError
from revalue.engine.operate.console_feed import LAG_BOUNDS, read_console_state
from revalue.engine.operate.count_keeper import CountKeeper
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

router = APIRouter(include_in_schema=False)
_log = logs.logger("console")

_MEDIA_TYPES = {
    "html": "text/html",
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
}
_FILE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_HEARTBEAT = format_sse_event(comment="still here")
_UNAVAILABLE = (
    "The database is unavailable or too busy. The page shows the last numbers that it received, "
    "and continues when the database responds."
)
_FAILED = (
    "The query of the console failed. The page shows the last numbers that it received; the reason "
    "is in the log of the server."
)


class Feed:
    """Poll the state of the engine for all listeners, and keep the last samples.

    A slow listener misses polls, but never the last one. FastAPI can stream events from an endpoint
    that yields, but the heartbeat, the end of a stream and lost polls would be here all the same,
    so only its encoding is used.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        counter: CountKeeper,
        *,
        seconds: float = 1,
        listeners: int = 32,
        listeners_per_client: int = 8,
        samples: int = 600,
        heartbeat_seconds: float = 10,
        stream_seconds: float = 300,
    ) -> None:
        """Create a feed that does not poll yet.

        Args:
            database: the database to poll.
            settings: settings of the engine.
            counter: counts the positions.
            seconds: time from one poll to the next.
            listeners: maximum number of listeners.
            listeners_per_client: maximum number of them that one client has.
            samples: number of polls to keep for `history`.
            heartbeat_seconds: time after which a silent stream sends a comment.
            stream_seconds: time after which a stream ends.
        """
        self._database, self._settings, self._counter = database, settings, counter
        self._seconds = seconds
        self._max_listeners, self._max_per_client = listeners, listeners_per_client
        self._heartbeat_seconds, self._stream_seconds = heartbeat_seconds, stream_seconds
        self._samples: deque[dict[str, Any]] = deque(maxlen=samples)
        self._polled = asyncio.Condition()
        self._poll_number, self._last_event = 0, b""
        self._listening: Counter[str] = Counter()
        self._ended = False
        self._last_logged: str | None = None  # the last error that was logged
        self._poller: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self, client: str) -> AsyncIterator[None]:
        """Count a listener of a client, and keep the poller running until the block ends.

        Raises:
            HTTPException: 503 if there are as many listeners as allowed, 429 if the client has so.
        """
        for status, found, most in (
            (429, self._listening[client], self._max_per_client),
            (503, self._listening.total(), self._max_listeners),
        ):
            if found >= most:
                whose = " of this client" if status == 429 else ""
                detail = f"{most} pages{whose} listen already, the maximum"
                raise HTTPException(status, detail, {"Retry-After": "10"})
        self._listening[client] += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._listening[client] -= 1
            if not self._listening[client]:
                del self._listening[client]
            if not self._listening:
                await self.close()

    async def close(self) -> None:
        """Stop the poller."""
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()

    def end_streams(self) -> None:
        """End every stream after its next poll, because the server stops. For a signal handler."""
        self._ended = True

    async def events(self) -> AsyncIterator[bytes]:
        """Yield `history` once, then the event of every poll.

        The stream ends after a while, so that the token is checked again when the page reconnects.
        """
        until, seen = monotonic() + self._stream_seconds, self._poll_number
        yield _event("history", {"lag_bounds": LAG_BOUNDS, "samples": list(self._samples)})
        while monotonic() < until and not self._ended:
            try:
                async with asyncio.timeout(self._heartbeat_seconds), self._polled:
                    while self._poll_number == seen:
                        await self._polled.wait()
                    seen, event = self._poll_number, self._last_event
            except TimeoutError:
                event = _HEARTBEAT
            yield event

    async def _poll(self) -> None:
        while self._poller is asyncio.current_task():  # a driver may swallow a cancellation
            started = monotonic()
            await self._publish(await self._read_event())
            taken = monotonic() - started
            # A slow query is repeated less often: polling takes a fifth of the time at most.
            await asyncio.sleep(max(self._seconds - taken, 4 * taken))

    async def _read_event(self) -> bytes:
        try:
            counts = await self._counter.counts(self._database)
            found = await read_console_state(self._database, counts, self._settings)
        except TransientError:
            return _event("unavailable", {"message": _UNAVAILABLE})
        except Exception as error:  # if the poller ended, no listener would get another event
            told = f"{type(error).__name__}: {error}"
            if told != self._last_logged:
                _log.error("console query failed", error=told)
                self._last_logged = told
            return _event("unavailable", {"message": _FAILED})
        self._last_logged = None
        sample = {"at": time(), "lags": found.lags, "rows_per_second": found.rows_per_second}
        self._samples.append(sample)
        return _event("state", {**found.state, "sample": sample})

    async def _publish(self, event: bytes) -> None:
        async with self._polled:
            self._poll_number, self._last_event = self._poll_number + 1, event
            self._polled.notify_all()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(to_json_value(data)))


async def _listening_feed(request: Request, caller: ReadCaller) -> AsyncIterator[Feed]:
    caller.require_unlimited()
    feed: Feed = request.app.state.feed
    async with feed.listen(client_of(request.client.host if request.client else "")):
        yield feed


@router.get("/events")
async def events(feed: Annotated[Feed, Depends(_listening_feed)]) -> EventSourceResponse:
    """Server-sent events: `history` once, then `state` every second, or `unavailable`.

    Refused for tokens that are limited to portfolios.
    """
    headers = {
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
    }
    return EventSourceResponse(feed.events(), headers=headers)


_FILES = {
    each.name: each.read_bytes()
    for each in files(__package__).joinpath("pages").iterdir()
    if each.is_file()
}


@router.get("/")
async def page(request: Request) -> Response:
    """Return the page. It needs no token; the data that it loads do."""
    return asset(request, "index.html")


@router.get("/console/{name}")
def asset(request: Request, name: str) -> Response:
    """Return a file of the page.

    Raises:
        HTTPException: 404 if there is no such file.
    """
    body, media_type = _FILES.get(name), _MEDIA_TYPES.get(name.rpartition(".")[2])
    if body is None or media_type is None:
        raise HTTPException(404, f"the console has no file {name!r}")
    headers = {**_FILE_HEADERS, "ETag": f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
