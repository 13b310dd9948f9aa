"""The application: `create_app` over a database's address, for uvicorn, for Ray Serve and for tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from revalue.console.web import (
    console_feed,
    corrections,
    operations,
    portfolios,
    positions,
    problems,
)
from revalue.console.web.correlation_id import Correlation
from revalue.console.web.middleware import BodyLimit, HostNames
from revalue.console.web.parameters import Call
from revalue.engine.read.queries import ReaderQueries, open_limited
from revalue.engine.settings import Settings


def create_app(
    url: str,
    *,
    timeout_seconds: float = 10,
    connections: int = 4,
    hosts: Sequence[str] = ("localhost", "127.0.0.1"),
    require_token: bool = False,
    settings: Settings | None = None,
    feed: Mapping[str, Any] | None = None,
    body_bytes: int = 8_000_000,
) -> FastAPI:
    """A request's statement is ended after `timeout_seconds`; `connections` is how many run at once; a body has
    `body_bytes` at most.

    `hosts`: names that a request may call this server by, so that no other site's page can read it through a browser.
    `settings`: how the engine works that a preview rehearses; its defaults without.
    `feed`: options of the console's poller (console.web.live.Feed).
    `require_token`: every call but those of /health, the description and the console's own files needs a bearer token
    (console.web.access).
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answers = await ReaderQueries.open(
            url, timeout_seconds=timeout_seconds, connections=connections
        )
        rehearsing = await open_limited(
            url, timeout_seconds=timeout_seconds, connections=2, application="revalue preview"
        )
        app.state.answers = answers
        app.state.previews = corrections.Previews(rehearsing)
        app.state.feed = console_feed.Feed(answers.database, app.state.settings, **dict(feed or {}))
        try:
            yield
        finally:
            await app.state.feed.close()
            await answers.close()
            await rehearsing.close()

    # No /docs and /redoc: their scripts come from another host, and would run beside the console's token.
    app = FastAPI(
        title="revalue",
        version="1",
        lifespan=lifespan,
        dependencies=[Call],
        docs_url=None,
        redoc_url=None,
    )
    app.state.require_token = require_token
    app.state.settings = settings or Settings.model_construct()
    app.add_middleware(BodyLimit, most=body_bytes)
    app.add_middleware(HostNames, names=hosts)
    app.add_middleware(Correlation)  # the last one is the outermost
    problems.install(app)
    for each in (portfolios, positions, corrections, operations, console_feed):
        app.include_router(each.router)
    return app
