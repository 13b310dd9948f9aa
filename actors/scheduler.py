"""The scheduler actor: one named actor that gives the loop a home on Ray."""

import asyncio
from dataclasses import asdict
from typing import Any

from prometheus_client import start_http_server

from actors.loop import SchedulerLoop
from actors.pool import ActorPool
from engine import logs, metrics
from engine.database_metrics import DatabaseCollector
from engine.errors import RevalueError, TransientError
from engine.settings import Settings
from engine.store.arrow import ArrowReader
from engine.store.database import Database
from engine.store.schema import require_head
from engine.store.sessions import session_name
from engine.store.terms import Term

_log = logs.logger("scheduler")

NAMESPACE = "revalue"


class ValuationScheduler:
    """Recovers everything from PostgreSQL whenever it is (re)started; `progress` is answered while it works."""

    def __init__(self, url: str, settings: Settings, actors: int, holder: str, take_over: bool) -> None:
        logs.configure(settings.log_level)
        self._url = url
        self._settings = settings
        self._actors = actors
        self._holder = holder
        self._take_over = take_over
        self._loop: SchedulerLoop | None = None
        self._failure: RevalueError | None = None
        self._metrics_port: int | None = None
        self._running = asyncio.get_event_loop().create_task(self._run())

    async def _run(self) -> None:
        settings = self._settings
        if settings.metrics_port is not None:
            metrics.REGISTRY.register(DatabaseCollector(self._url))
            server, _ = start_http_server(settings.metrics_port, registry=metrics.REGISTRY)
            self._metrics_port = server.server_port
        pool = ActorPool(
            self._url,
            size=self._actors,
            tasks_per_actor=settings.tasks_per_actor,
            max_attempts=settings.max_attempts,
            task_deadline_seconds=settings.task_deadline_seconds,
        )
        reader = ArrowReader(self._url)
        try:
            database = await self._open_database()
            async with database:
                term = await Term.acquire(
                    database, self._holder, lease_seconds=settings.lease_seconds, take_over=self._take_over
                )
                self._loop = SchedulerLoop(database, reader, pool, term, settings)
                await self._loop.run()
                await term.release()
        except RevalueError as error:
            self._failure = error
        finally:
            reader.close()
            await pool.close()

    async def _open_database(self) -> Database:
        while True:
            try:
                await require_head(self._url)
                return await Database.open(self._url, application=session_name("scheduler", self._holder))
            except TransientError as error:
                _log.warning("trying again until it succeeds", trouble=str(error))
                await asyncio.sleep(1)

    async def progress(self) -> dict[str, Any]:
        """What was done so far (actors.loop.Progress), `quiet`: whether nothing is left to do now, and
        `ended`: whether an operator has drained it.

        Raises what ended the scheduler: TermLostError, LeaderActiveError, SchemaVersionError.
        """
        if self._failure is not None:
            raise self._failure
        if self._loop is None:
            return {"quiet": False, "starting": True}
        if self._running.done():
            self._running.result()
            return {**asdict(self._loop.progress), "quiet": True, "ended": True}
        try:
            quiet = await self._loop.is_quiet()
        except TransientError:
            quiet = False
        return {**asdict(self._loop.progress), "quiet": quiet, "ended": False, "metrics_port": self._metrics_port}

    async def ping(self) -> None:
        """Answers when the actor is alive."""

    async def drain(self) -> None:
        """Starts nothing new, waits for the tasks in flight to be applied and gives the term back."""
        if self._loop is not None:
            self._loop.stop()
        await asyncio.wait([self._running])
