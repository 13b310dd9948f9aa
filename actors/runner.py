"""One run of the engine on Ray: starts a scheduler, watches it and stops it."""

import asyncio
import math
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

import ray

from revalue.actors import cluster
from revalue.actors.backoff import require_within
from revalue.actors.protocols import SchedulerStartError
from revalue.engine import logs, metrics
from revalue.engine.errors import RevalueError, TermLostError, TransientError
from revalue.engine.leadership.lease import require_no_leader
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres.database import Database
from revalue.engine.runtime import OnProgress, Run, RunProgress
from revalue.engine.settings import Settings, ray_cluster

_POLL_SECONDS = 0.25
_WATCH_SECONDS = 1.0
_IDLE_SECONDS = 10.0  # while nothing is done, a watched scheduler is asked this often
_ANSWER_SECONDS = 60
_WARN_SECONDS = 60  # trouble that comes and goes is logged this often
# How many calls may fail as "died" before the scheduler is considered gone. While Ray restarts an
# actor, calls are answered or fail as "unavailable".
_MAX_DEATHS = 3

_COUNTS = ("rows_written", "jobs_finished", "positions_invalidated", "tasks_lost", "jobs_fenced")

_log = logs.logger("runner")


def run_until_quiet(url: str, settings: Settings, *, on_progress: OnProgress | None = None) -> Run:
    """The runtime `ray` of engine.runtime: one run on Ray, from a scheduler's start to its end."""
    with Runner(url, settings) as runner:
        return runner.until_quiet(on_progress)


class Runner:
    """The engine on Ray for as long as the block lasts: a scheduler and its pool.

    Attributes:
        ended_in_order: whether what was in flight was finished and applied at the end.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        take_over: bool = False,
        on_connected: Callable[[], None] = lambda: None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Create a runner.

        Args:
            take_over: succeed a scheduler that is still alive.
            on_connected: is called when this process has connected to Ray, which installs handlers
                of signals.
            on_wait: is called again and again while it waits; what it raises ends that.
        """
        self._url = url
        self._settings = settings
        self._take_over = take_over
        self._on_connected = on_connected
        self._on_wait = on_wait
        self._last: dict[str, Any] | None = None  # the progress when it was last asked for
        self._counted = dict.fromkeys(_COUNTS, 0)
        self._has_told_trouble = False
        self._warned_at = -math.inf
        self.ended_in_order = False

    def __enter__(self) -> "Runner":
        self._require_free_port()
        if not self._take_over:
            with ThreadPoolExecutor(1) as thread:  # this one may run an event loop
                thread.submit(asyncio.run, self._require_no_leader()).result()
        with ExitStack() as undo:
            self._connection = cluster.connected(self._settings)
            undo.enter_context(self._connection)
            self._on_connected()
            self._scheduler = cluster.start_scheduler(
                self._url, self._settings, take_over=self._take_over
            )
            # A Ray that is the user's own would keep it, and refuse the next one. It is stopped in
            # order, as it may have its term already.
            undo.callback(self._stop)
            self.progress()
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stop()
        finally:
            self._connection.__exit__(None, None, None)

    def _stop(self) -> None:
        self.ended_in_order = cluster.stop_scheduler(self._scheduler)

    def until_quiet(self, on_progress: OnProgress | None = None) -> Run:
        """Wait until every position is current, waits for data, or has failed.

        The counts of the run are those since the run before it in the same block.
        """
        begun = time.monotonic()
        before = self._counted
        while True:
            progress = self.progress()
            seconds = time.monotonic() - begun
            if on_progress is not None:
                on_progress(_progress_since(before, progress, seconds))
            if progress["quiet"]:  # or ended: an operator has drained it
                break
            time.sleep(_POLL_SECONDS)
        self._counted = {name: progress[name] for name in _COUNTS}
        done = {name: progress[name] - before[name] for name in _COUNTS}
        return Run(seconds=seconds, status=asyncio.run(self._status()), **done)

    def watch(self, on_progress: OnProgress | None = None) -> None:
        """Wait until interrupted, or until an operator drains the scheduler."""
        begun = time.monotonic()
        while not (progress := self.progress(idle_seconds=_IDLE_SECONDS))["ended"]:
            if on_progress is not None:
                on_progress(
                    _progress_since(dict.fromkeys(_COUNTS, 0), progress, time.monotonic() - begun)
                )
            time.sleep(_WATCH_SECONDS)

    def progress(self, *, idle_seconds: float | None = None) -> dict[str, Any]:
        """Ask the scheduler for its progress; wait while Ray restarts it, or while it hangs.

        Args:
            idle_seconds: see ValuationScheduler.progress.

        Returns:
            The fields of ValuationScheduler.progress.

        Raises:
            TermLostError: another command has taken over.
            SchedulerStartError: it could not begin.
            OutageError: it has not answered for REVALUE_OUTAGE_SECONDS.
            RevalueError: what ended the scheduler.
        """
        deaths, silent = 0, 0.0
        while True:
            self._on_wait()
            try:
                progress: dict[str, Any] = ray.get(
                    self._scheduler.progress.remote(idle_seconds), timeout=_ANSWER_SECONDS
                )
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                raise cause if isinstance(cause, RevalueError) else error from None
            except ray.exceptions.GetTimeoutError:
                _log.warning(
                    "the scheduler does not answer: its process or its node may be stopped",
                    seconds=_ANSWER_SECONDS,
                )
                silent += _ANSWER_SECONDS
                require_within(self._settings.outage_seconds, silent, "its scheduler is silent")
                continue
            except ray.exceptions.RayActorError as error:
                if error.actor_init_failed:
                    raise SchedulerStartError(
                        f"the scheduler cannot start: {str(error).strip().splitlines()[-1]}. Every "
                        "node needs this version of revalue, Ray and Python"
                    ) from error
                deaths += isinstance(error, ray.exceptions.ActorDiedError)
                if deaths > _MAX_DEATHS:
                    raise TermLostError(
                        "the scheduler of this command is gone and is not restarted: another "
                        "command has taken over, and releases what this one had started"
                    ) from None
                time.sleep(1)  # it recovers from the database
                continue
            self._warn_of(progress["trouble"])
            if not progress.get("starting"):
                self._last = progress
                return progress
            time.sleep(0.05)

    @property
    def has_led(self) -> bool:
        """Whether the scheduler has been seen to lead."""
        return self._last is not None

    def what_it_leaves(self) -> str:
        """Say what a process leaves that ends now, and who goes on with it."""
        address = ray_cluster(self._settings)
        ray_of_it = f"the Ray cluster at {address}" if address else "its own Ray, which ends too,"
        if self._last is None:
            return f"no scheduler of this command has led yet; what was started on {ray_of_it} ends"
        tasks = self._last["in_flight"]
        return (
            f"{tasks} {'task was' if tasks == 1 else 'tasks were'} in flight when last heard of. "
            f"The scheduler of term {self._last['term']} on {ray_of_it} ends with this command. "
            f"The next `revalue value` waits for its lease, {self._settings.lease_seconds:g} s at "
            "most, applies what the tasks have committed and releases their other jobs; no attempt "
            "is counted"
        )

    def _warn_of(self, trouble: str | None) -> None:
        """Log trouble once: the scheduler's own log may be in files of Ray only."""
        now = time.monotonic()
        if trouble is None:
            self._has_told_trouble = False
        elif not self._has_told_trouble and now - self._warned_at > _WARN_SECONDS:
            self._warned_at, self._has_told_trouble = now, True
            _log.warning("the scheduler waits", trouble=trouble)

    def _require_free_port(self) -> None:
        """Refuse a taken port before a local Ray is started. On a cluster only the node knows."""
        port, host = self._settings.metrics_port, self._settings.metrics_host
        if port and ray_cluster(self._settings) is None and not ray.is_initialized():
            with metrics.told_port(host, port, "--metrics-port"):
                socket.create_server((host, port)).close()

    async def _require_no_leader(self) -> None:
        """Refuse a second scheduler before Ray is started for it: that takes ten times as long."""
        with suppress(TransientError):  # the scheduler meets it too, and waits
            async with await Database.open(self._url, connections=1) as database:
                await require_no_leader(database, lease_seconds=self._settings.lease_seconds)

    async def _status(self) -> Status:
        async with await Database.open(self._url, connections=1) as database:
            return await read_status(database, exact=True)


def _progress_since(
    before: dict[str, int], progress: dict[str, Any], seconds: float
) -> RunProgress:
    return RunProgress(
        seconds=seconds,
        rows_written=progress["rows_written"] - before["rows_written"],
        jobs_finished=progress["jobs_finished"] - before["jobs_finished"],
        positions_invalidated=progress["positions_invalidated"] - before["positions_invalidated"],
        tasks_in_flight=progress["in_flight"],
        idle=progress["idle"],
        paused=progress["paused"],
        trouble=progress["trouble"],
    )
