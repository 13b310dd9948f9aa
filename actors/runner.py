"""One run of the engine: starts a scheduler, on Ray or in this process, watches it and stops it."""

import asyncio
import math
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from revalue.actors.protocols import Host, Mover, RayTooSlowError, SchedulerStartError
from revalue.actors.work_left import WorkLeft
from revalue.engine import logs, metrics
from revalue.engine.errors import RevalueError, TransientError, UsageError
from revalue.engine.leadership.lease import require_no_leader
from revalue.engine.leadership.term import Term, new_holder
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres.database import Database
from revalue.engine.runtime import OnProgress, Run, RunProgress
from revalue.engine.settings import Settings

STOP_SECONDS = 120
"""How long a stop waits for the tasks in flight, by default."""

_WATCH_SECONDS = 1.0
_IDLE_SECONDS = 10.0  # while nothing is done, a watched scheduler is asked this often
_WARN_SECONDS = 60  # trouble that comes and goes is logged this often

_COUNTS = ("rows_written", "spans_finished", "positions_invalidated", "tasks_lost", "spans_fenced")

_log = logs.logger("runner")


class Runner:
    """The engine for as long as the block lasts: a scheduler and its pool.

    Attributes:
        ended_in_order: whether what was in flight was finished and applied at the end.
    """

    def __init__(
        self,
        host: Host,
        url: str,
        settings: Settings,
        *,
        take_over: bool = False,
        on_connected: Callable[[], None] = lambda: None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Create a runner.

        Args:
            host: where the scheduler runs.
            take_over: succeed a scheduler that is still alive.
            on_connected: called when this process has connected to Ray, which installs handlers of
                signals.
            on_wait: called again and again while the runner waits; what it raises ends the wait.
        """
        self._host = host
        self._url = url
        self._settings = settings
        self._take_over = take_over
        self._holder = new_holder()
        self._term_kept: int | None = None  # by a scheduler that has ended, for the next one
        self._running = ExitStack()
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
        with self._connected(self._host) as undo:
            self._start(self._host, undo, take_over=self._take_over)
        return self

    @contextmanager
    def _connected(self, host: Host) -> Iterator[ExitStack]:
        with ExitStack() as undo:
            undo.enter_context(host.connected())
            self._on_connected()
            yield undo

    def _start(self, host: Host, undo: ExitStack, *, take_over: bool = False) -> None:
        """Start the scheduler. What `undo` has to undo is left to the end of the run."""
        self._host = host
        host.start(self._url, self._settings, holder=self._holder, take_over=take_over)
        # A Ray that is the user's own would keep it, and refuse the next one. It is stopped in
        # order, as it may have its term already.
        undo.callback(self._stop, host)
        self.progress()
        self._term_kept = None
        self._running = undo.pop_all()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()
        if self._term_kept is not None:
            self._give_back(self._term_kept)

    def _stop(self, host: Host) -> None:
        self.ended_in_order = False
        self.ended_in_order = host.stop()

    def _give_back(self, term: int) -> None:
        """Give back the term that a scheduler has kept for a successor that never led."""

        async def release() -> None:
            async with await Database.open(self._url, connections=1) as database:
                own = Term(database, term, self._holder, lease_seconds=self._settings.lease_seconds)
                await own.release()

        with suppress(RevalueError):  # the next one waits for the end of the lease
            asyncio.run(release())

    def _move(self, host: Host, mover: Mover) -> dict[str, Any] | None:
        """End the scheduler in order, and let the next one there succeed it.

        It works on while a Ray is started, and until the next one leads nobody else can. It stays
        if none can be started there, or if an operator has drained it meanwhile.

        Returns:
            The last progress of the scheduler that has ended; None: it stays.
        """
        here, left = self._host, self._running
        last: dict[str, Any] | None = None
        try:
            with self._connected(host) as there:
                if (last := self._hand_over()) is None:
                    return None
                self._start(host, there)
        except (UsageError, RayTooSlowError, SchedulerStartError) as error:
            mover.refused(here.runtime, str(error))
            if last is not None:
                self._start(here, left)
        else:
            left.close()
        return last

    def _hand_over(self) -> dict[str, Any] | None:
        """End the scheduler in order; return its last progress. None: see Host.hand_over."""
        before = self.progress(idle_seconds=0.0)
        if before["ended"]:
            return None
        self._term_kept = before["term"]
        if (last := self._host.hand_over()) is None:
            self._term_kept = None
            return None
        self._on_wait()
        return {**before, **last}

    def until_quiet(self, on_progress: OnProgress | None = None) -> Run:
        """Wait until every position is current, waits for data, or has failed.

        The counts of the run are those since the run before it in the same block.
        """
        begun = time.monotonic()
        before = self._counted
        left = WorkLeft(self._url, self._settings)
        while True:
            progress = self.progress()
            seconds = time.monotonic() - begun
            if on_progress is not None:
                now = _progress_since(before, progress, seconds)
                on_progress(replace(now, position_days_left=left.of(now.rows_written)))
            if progress["quiet"]:  # or ended: an operator has drained it
                break
            time.sleep(self._host.poll_seconds)
        self._counted = {name: progress[name] for name in _COUNTS}
        done = {name: progress[name] - before[name] for name in _COUNTS}
        status = asyncio.run(self._status())
        return Run(seconds=seconds, status=status, runtime=self._host.runtime, **done)

    def watch(self, on_progress: OnProgress | None = None, mover: Mover | None = None) -> None:
        """Wait until interrupted, or until an operator drains the scheduler.

        Args:
            mover: decides where it goes on; None: where it is.
        """
        begun = time.monotonic()
        before = dict.fromkeys(_COUNTS, 0)
        while not (progress := self.progress(idle_seconds=_IDLE_SECONDS))["ended"]:
            if on_progress is not None:
                on_progress(_progress_since(before, progress, time.monotonic() - begun))
            host = None if mover is None else mover.next(self._host.runtime, progress)
            if mover is None or host is None:
                time.sleep(_WATCH_SECONDS)
                continue
            if (last := self._move(host, mover)) is not None:  # the next one counts from zero
                before = {name: before[name] - last[name] for name in _COUNTS}

    def progress(self, *, idle_seconds: float | None = None) -> dict[str, Any]:
        """Ask the scheduler for its progress; wait while Ray restarts it, or while it hangs.

        Args:
            idle_seconds: see Scheduler.progress.

        Returns:
            The fields of Scheduler.progress.

        Raises:
            TermLostError: another command has taken over.
            SchedulerStartError: it could not begin.
            OutageError: it has not answered for REVALUE_OUTAGE_SECONDS.
            RevalueError: what ended the scheduler.
        """
        while True:
            self._on_wait()
            progress = self._host.ask(idle_seconds)
            if progress is None:
                continue
            self._warn_of(progress["trouble"])
            if not progress.get("starting"):
                self._last = progress
                return progress
            time.sleep(min(0.05, self._host.poll_seconds))

    @property
    def has_led(self) -> bool:
        """Whether the scheduler has been seen to lead."""
        return self._last is not None

    def what_it_leaves(self) -> str:
        """Say what this process leaves behind if it ends now, and who continues it."""
        place = self._host.place
        if self._last is None:
            return f"no scheduler of this command has led yet; what was started {place} ends"
        tasks = self._last["in_flight"]
        return (
            f"{tasks} {'task was' if tasks == 1 else 'tasks were'} in flight when last heard of. "
            f"The scheduler of term {self._last['term']} {place} ends with this command. "
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
        """Refuse a taken port before Ray is started. On a cluster only the node knows."""
        port, host = self._settings.metrics_port, self._settings.metrics_host
        if port and self._host.is_here:
            with metrics.translated_port_errors(host, port, "--metrics-port"):
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
        spans_finished=progress["spans_finished"] - before["spans_finished"],
        positions_invalidated=progress["positions_invalidated"] - before["positions_invalidated"],
        tasks_in_flight=progress["in_flight"],
        idle=progress["idle"],
        paused=progress["paused"],
        trouble=progress["trouble"],
    )
