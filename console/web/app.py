"""The web application: `create_app` for uvicorn, for Ray Serve and for tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from revalue.console.web import (
    console_feed,
    corrections,
    exceptions,
    loads,
    made_corrections,
    operations,
    portfolios,
    positions,
    previews,
    problems,
    reports,
    splits,
)
from revalue.console.web.correlation_id import Correlation
from revalue.console.web.middleware import BodyLimit, HeadAsGet, HostNames
from revalue.console.web.parameters import require_known_parameters
from revalue.console.web.path_ids import SegmentedPath
from revalue.console.web.preview_queue import PreviewQueue
from revalue.console.web.readiness import Readiness
from revalue.console.web.responses import PARQUET
from revalue.console.web.security_headers import SecurityHeaders
from revalue.console.web.turns import TakeTurns
from revalue.engine.operate.count_keeper import CountKeeper
from revalue.engine.postgres.database import Database
from revalue.engine.read.queries import ReaderQueries, open_limited
from revalue.engine.settings import Settings

_DESCRIPTION = """\
Valuations of positions, and the state of the engine that values them.

Decimals are text with all of their decimal places. Dates and times are ISO 8601. Amounts are in the
portfolio's base currency; fields whose names end in `_local` are in the security's local currency.
Ranges of dates include both ends. `next`, if not null, is the cursor of the next page.
"""


def create_app(
    url: str,
    *,
    timeout_seconds: float = 10,
    connections: int = 4,
    hosts: Sequence[str] = ("localhost", "127.0.0.1"),
    require_token: bool = False,
    settings: Settings | None = None,
    feed: Mapping[str, Any] | None = None,
    counter: Mapping[str, Any] | None = None,
    body_bytes: int = 8_000_000,
    preview_wait_seconds: float | None = 3,
    preview_queue: int = 4,
    preview_keep_seconds: float = 600,
) -> FastAPI:
    """Create the web application. It connects to the database when it starts to serve.

    Args:
        url: address of the database.
        timeout_seconds: PostgreSQL cancels a statement of a request after this time.
        connections: number of statements that run at once; others wait.
        hosts: host names that a request may use, so that no page of another site can read this
            server through a browser. `*` allows every name.
        require_token: require a bearer token for all but /health, the OpenAPI document and the
            files of the console (see auth.py).
        settings: settings of the engine, for previews and for the estimated time; None: defaults.
        feed: options of the console's feed (console_feed.Feed).
        counter: options of the count of positions (count_keeper.CountKeeper).
        body_bytes: maximum size of a request body, in bytes.
        preview_wait_seconds: a preview that takes longer goes on in the background; None: a call
            waits as long as it takes.
        preview_queue: number of previews that may wait for the one that runs.
        preview_keep_seconds: how long the result of one in the background is kept.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answers = await ReaderQueries.open(
            url, timeout_seconds=timeout_seconds, connections=connections
        )
        for_previews = await open_limited(
            url,
            timeout_seconds=app.state.settings.preview_seconds,
            connections=2,
            application="revalue preview",
        )
        app.state.for_reports = await Database.open(
            url,
            connections=2,
            application="revalue report",
            statement_seconds=timeout_seconds,
            answer_seconds=reports.REPORT_SECONDS,
        )
        queue = PreviewQueue(max_waiting=preview_queue, keep_seconds=preview_keep_seconds)
        app.state.answers = answers
        app.state.readiness = Readiness(url)
        app.state.previews = previews.Previews(for_previews, queue, preview_wait_seconds)
        app.state.counter = CountKeeper(app.state.settings, **dict(counter or {}))
        app.state.feed = console_feed.Feed(
            answers.database, app.state.settings, app.state.counter, **dict(feed or {})
        )
        try:
            yield
        finally:
            await app.state.feed.close()
            await app.state.counter.close()
            await queue.close()
            await answers.close()
            await for_previews.close()
            await app.state.for_reports.close()

    # The functions of the endpoints have the names that a generated client gives to its own.
    # No /docs and /redoc: their scripts come from another host and could read the console's token.
    app = FastAPI(
        title="revalue",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(require_known_parameters)],
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would name the Host of the request
    )
    app.state.require_token = require_token
    app.state.settings = settings or Settings.model_construct()
    idle_seconds = app.state.settings.http_idle_seconds
    app.add_middleware(SegmentedPath)
    app.add_middleware(BodyLimit, max_bytes=body_bytes, idle_seconds=idle_seconds)
    # Nothing secret is guessed by the length of a response (BREACH): browsers add no token to a
    # request of another site, and what repeats the request, the errors, is not compressed.
    app.add_middleware(
        GZipMiddleware,
        minimum_size=1_000,
        compresslevel=5,
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, PARQUET, problems.PROBLEM),
    )
    app.add_middleware(HeadAsGet)
    app.add_middleware(TakeTurns, wait_seconds=app.state.settings.http_queue_seconds)
    app.add_middleware(HostNames, names=hosts)
    app.add_middleware(Correlation)
    app.add_middleware(SecurityHeaders)  # added last, so it is the outermost
    problems.install(app)
    for each in (
        *(portfolios, positions, reports, exceptions),
        *(corrections, previews, made_corrections, splits, loads, operations, console_feed),
    ):
        app.include_router(each.router)
    return app
