"""A scheduler from its start to its end: it takes the lead, runs the loop, gives the term back.

It knows no Ray: actors.ray_scheduler makes an actor of it, actors.local runs it in this process.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from prometheus_client import start_http_server

from revalue.actors.backoff import retry_transient
from revalue.actors.loop import SchedulerLoop
from revalue.actors.pool import ActorPool
from revalue.actors.protocols import Worker
from revalue.actors.steps import DatabaseSteps
from revalue.actors.upkeep import Upkeep
from revalue.engine import metrics
from revalue.engine.core.lifecycle import Lane
from revalue.engine.errors import RevalueError, TransientError
from revalue.engine.lake.maintain import Maintained, OnStep, maintain
from revalue.engine.lake.ownership import make_lake
from revalue.engine.leadership.sessions import actors_that_fit, require_sessions
from revalue.engine.leadership.term import Term
from revalue.engine.operate.database_metrics import DatabaseCollector
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.schema import require_head
from revalue.engine.postgres.statement import Statement
from revalue.engine.settings import Settings
from revalue.engine.value.valuer import ValuerOptions


class StartValuer(Protocol):
    """Starts a valuation actor of one kind."""

    def __call__(self, url: str, options: ValuerOptions, *, name: str, is_reserved: bool) -> Worker:
        """Return it at once, before it runs."""


class Scheduler:
    """Runs the loop and answers `progress` meanwhile. Each start recovers from PostgreSQL."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        actors: int,
        holder: str,
        take_over: bool,
        start_valuer: StartValuer,
        takes_fewer_actors: bool = False,
    ) -> None:
        """Start it, in the event loop of this thread.

        Args:
            actors: number of valuation actors; one more is reserved for the live lane.
            takes_fewer_actors: if the database does not allow their sessions, with fewer actors.
            holder: a name that is never used again.
            take_over: succeed a scheduler that is still alive.
        """
        self._url = url
        self._settings = settings
        self._actors = actors
        self._holder = holder
        self._take_over = take_over
        self._start_valuer = start_valuer
        self._takes_fewer_actors = takes_fewer_actors
        self._loop: SchedulerLoop | None = None
        self._pool: ActorPool | None = None
        self._metrics_port: int | None = None
        self._trouble: str | None = None  # before it leads
        self._keeps_term = False  # for the next scheduler of its holder
        self._sent_before = Statement.sent
        self._running = asyncio.get_event_loop().create_task(self._run())

    async def _run(self) -> None:
        stop_serving = self._serve_metrics()
        try:
            retry = partial(retry_transient, tell=self._tell, seconds=self._settings.outage_seconds)
            async with await retry(self._open_database) as database:
                await retry(lambda: self._fit_sessions(database))
                lake = self._settings.lake
                if lake is not None:
                    await retry(lambda: make_lake(database, lake))
                term = await retry(lambda: self._acquire(database))
                try:
                    await self._lead(database, term)
                except BaseException:
                    self._keeps_term = False
                    raise
                finally:
                    # After an error too. If it fails, the next scheduler waits for the lease to
                    # end.
                    if not self._keeps_term:
                        with suppress(RevalueError):
                            await term.release()
        finally:
            stop_serving()

    async def _lead(self, database: Database, term: Term) -> None:
        settings = self._settings
        self._pool = ActorPool(
            partial(self._start_valuer, self._url, ValuerOptions.of(settings)),
            size=self._actors,
            tasks_per_actor=settings.tasks_per_actor,
            task_deadline_seconds=settings.task_deadline_seconds,
        )
        readers = {
            lane: ArrowReader(
                self._url,
                lock_seconds=settings.lock_seconds,
                answer_seconds=settings.step_seconds,
            )
            for lane in Lane
        }
        steps = DatabaseSteps(database, readers, term, settings)
        self._loop = SchedulerLoop(steps, self._pool, settings)
        upkeep = asyncio.create_task(self._keep_lake(self._loop))
        try:
            await self._loop.run()
        finally:
            upkeep.cancel()
            await asyncio.wait([upkeep])
            steps.forget_connections()
            await self._pool.close()

    async def _keep_lake(self, loop: SchedulerLoop) -> None:
        """Maintain the lake while there is nothing to do, if there is a lake and settings ask for
        it."""
        seconds = self._settings.lake_maintenance_seconds
        if self._settings.lake is None or not seconds:
            return

        async def maintain_now(on_step: OnStep) -> Maintained:
            name = application_name("lake maintenance", self._holder)
            # No session while nothing is maintained: an idle scheduler costs nothing.
            async with await Database.open(self._url, connections=1, application=name) as database:
                return await maintain(database, on_step=on_step)

        await Upkeep(loop, maintain_now, rest_seconds=seconds).run()

    def _tell(self, trouble: str | None) -> None:
        self._trouble = trouble

    def _serve_metrics(self) -> Callable[[], None]:
        """Serve the metrics if a port is set; return a function that ends the server."""
        port = self._settings.metrics_port
        if port is None:
            return lambda: None
        with metrics.translated_port_errors(self._settings.metrics_host, port, "--metrics-port"):
            server, _ = start_http_server(
                port, addr=self._settings.metrics_host, registry=metrics.REGISTRY
            )
        collector = DatabaseCollector(self._url)
        metrics.REGISTRY.register(collector)
        self._metrics_port = server.server_port

        def stop() -> None:
            server.shutdown()
            server.server_close()
            metrics.REGISTRY.unregister(collector)

        return stop

    async def _open_database(self) -> Database:
        await require_head(self._url)
        # Two steps of each lane at once, the heartbeat, which must not wait for them, and two for
        # who holds their locks.
        return await Database.open(
            self._url,
            connections=8,
            application=application_name("scheduler", self._holder),
            lock_seconds=self._settings.lock_seconds,
            tells_of_locks=False,
            answer_seconds=self._settings.step_seconds,
        )

    async def _fit_sessions(self, database: Database) -> None:
        if self._takes_fewer_actors:
            self._actors = await actors_that_fit(database, self._actors)
        else:
            await require_sessions(database, self._actors)

    async def _acquire(self, database: Database) -> Term:
        return await Term.acquire(
            database,
            self._holder,
            lease_seconds=self._settings.lease_seconds,
            take_over=self._take_over,
            tell=self._tell,
        )

    async def progress(self, idle_seconds: float | None = None) -> dict[str, Any]:
        """The fields of actors.progress.Progress, and whether there is more to do.

        Args:
            idle_seconds: do not look whether there is more to do; answer when something is done, or
                after this time. None: look, and answer at once.

        Returns:
            With `quiet` (nothing is left to do now; False if not looked for), `ended` (an operator
            has drained it) and `metrics_port`; or `starting` and `trouble`, before it leads.

        Raises:
            TermLostError, LeaderActiveError, DatabaseSetupError, NoActorsError: what ended it.
        """
        if self._running.done():
            self._running.result()
            assert self._loop is not None
            return {**asdict(self._loop.progress), "quiet": True, "ended": True}
        if self._loop is None:
            return {"quiet": False, "starting": True, "trouble": self._trouble}
        quiet = False
        if idle_seconds is not None:
            await self._loop.busy_within(idle_seconds)
        else:
            with suppress(TransientError):
                quiet = await self._loop.is_quiet()
        progress = asdict(self._loop.progress)
        progress["statements"] = self._count_sent(progress["statements"])
        progress["trouble"] = progress["trouble"] or (self._pool.trouble if self._pool else None)
        return {**progress, "quiet": quiet, "ended": False, "metrics_port": self._metrics_port}

    def _count_sent(self, of_actors: int) -> int:
        """Return how many statements the scheduler and its actors have sent.

        The actors run in this process, so its counter has theirs too. On Ray they do not, and
        ValuationScheduler adds them.

        Args:
            of_actors: the number that the results of the actors report.
        """
        return Statement.sent - self._sent_before

    async def ping(self) -> None:
        """Return at once, which shows that the scheduler is alive."""

    async def hand_over(self) -> dict[str, Any] | None:
        """End as `drain` does, but leave the term to the next scheduler of this holder.

        Nobody else leads in between, and a drain that is asked for is asked of the next one.

        Returns:
            The fields of actors.progress.Progress at the end. None: it has ended or is ending
            already, as an operator has asked or by an error, and nobody is to go on.
        """
        if self._loop is None or self._loop.is_stopping or self._running.done():
            return None
        self._keeps_term = True
        await self.drain()
        return asdict(self._loop.progress) if self._keeps_term else None

    async def drain(self) -> None:
        """Start nothing new, wait until the tasks in flight are applied, give the term back."""
        if self._loop is not None:
            self._loop.stop()
        else:
            self._running.cancel()  # it has no term yet
        await asyncio.wait([self._running])

    async def abandon(self) -> None:
        """End it as the death of its process would: what is in flight is left to the next
        scheduler."""
        self._running.cancel()
        await asyncio.wait([self._running])
