"""A scheduler and its valuation actors in this process, for work that is done before Ray has
started.

Each valuation actor is a thread here: polars and the drivers do their work outside of Python's
lock. Nothing of Ray is imported.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, NoReturn, TypeVar

from revalue.actors.backoff import require_within
from revalue.actors.protocols import WorkerDiedError
from revalue.actors.runner import STOP_SECONDS, Runner
from revalue.actors.scheduler import Scheduler
from revalue.engine import logs, metrics
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.runtime import OnProgress, Run
from revalue.engine.settings import Settings
from revalue.engine.value.valuer import Valuer, ValuerOptions

T = TypeVar("T")

_MAX_ACTORS = 2
_POLL_SECONDS = 0.02
_ANSWER_SECONDS = 60
_END_SECONDS = 10  # of what is abandoned

_log = logs.logger("runner")


def run_until_quiet(url: str, settings: Settings, *, on_progress: OnProgress | None = None) -> Run:
    """The runtime `local` of engine.runtime: one run in this process."""
    with Runner(LocalHost(settings), url, settings) as runner:
        return runner.until_quiet(on_progress)


class _LoopThread:
    """An event loop in a thread of its own. It does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        """Start it. What it logs has the correlation id of the caller.

        Raises:
            RuntimeError: there is no thread to be had.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name=name, daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._cancel_all())
            self._loop.close()

    async def _cancel_all(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[Callable[[], T]]":
        """Run a coroutine there. Call the result: it returns what that has returned, or raises.

        An error is a result, as nobody may wait for it any more: asyncio would log it.

        Raises:
            RuntimeError: the thread has ended.
        """
        settled = _settled(work)
        try:
            return asyncio.run_coroutine_threadsafe(settled, self._loop)
        except RuntimeError:
            settled.close()
            work.close()
            raise

    def end(self) -> None:
        """End the loop soon; what still runs on it is cancelled."""
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self, until: float) -> None:
        """Wait for the end of the thread, until a time of the monotonic clock at most."""
        self._thread.join(max(0.0, until - time.monotonic()))


async def _settled(work: Coroutine[Any, Any, T]) -> Callable[[], T]:
    try:
        result = await work
    except BaseException as error:
        raised = error

        def fail() -> NoReturn:
            raise raised

        return fail
    return lambda: result


class LocalWorker:
    """A thread that values tasks, one after the other, over database sessions of its own.

    See actors.protocols.Worker. It has no process that could die: what ends this one ends the
    scheduler too, and the next scheduler recovers.
    """

    def __init__(self, url: str, options: ValuerOptions, *, name: str) -> None:
        self.name = name
        self._url = url
        self._options = options
        self._thread: _LoopThread | None = None
        self._valuer: Valuer | None = None
        self._turn = asyncio.Lock()
        self._is_killed = False

    async def connect(self) -> str:
        if self._thread is None:
            self._thread = _LoopThread(f"revalue valuer {self.name}")
        await self._there(self._open())
        return socket.gethostname()

    async def run(self, task: Task) -> TaskResult:
        return await self._there(self._value(task))

    def kill(self) -> None:
        self._is_killed = True
        if self._thread is None:
            return
        with suppress(RuntimeError):
            self._thread.submit(self._close()).add_done_callback(lambda _: self._end())

    def join(self, until: float) -> None:
        """Wait for the end of a worker that was killed. See _LoopThread.join."""
        if self._thread is not None:
            self._thread.join(until)

    def _end(self) -> None:
        assert self._thread is not None
        self._thread.end()

    async def _open(self) -> None:
        if self._valuer is None:
            self._valuer = await Valuer.open(self._url, self._options, name=self.name)

    async def _value(self, task: Task) -> TaskResult:
        async with self._turn:
            assert self._valuer is not None, "the pool gives tasks to connected workers only"
            return await self._valuer.run(task)

    async def _close(self) -> None:
        if self._valuer is not None:
            await self._valuer.close()

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work on the thread.

        Raises:
            WorkerDiedError: the worker was killed.
        """
        if self._is_killed or self._thread is None:
            work.close()
            raise WorkerDiedError("it was ended")
        try:
            answer = self._thread.submit(work)
        except RuntimeError as error:
            raise WorkerDiedError("its thread has ended") from error
        outcome = await asyncio.wrap_future(answer)
        return outcome()


class _SilentError(Exception):
    """The thread has not answered in time."""


class LocalHost:
    """This process: the scheduler in a thread, its valuation actors in others.

    See actors.protocols.Host.
    """

    runtime = "local"
    place = "in this process"
    poll_seconds = _POLL_SECONDS
    is_here = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread: _LoopThread | None = None
        self._scheduler: Scheduler | None = None
        self._workers: list[LocalWorker] = []
        self._silent = 0.0

    @contextmanager
    def connected(self) -> Iterator[None]:
        self._thread = _LoopThread("revalue scheduler")
        try:
            yield
        finally:
            self._thread.end()
            until = time.monotonic() + _END_SECONDS
            self._thread.join(until)
            for worker in self._workers:
                worker.join(until)

    def start(self, url: str, settings: Settings, *, holder: str, take_over: bool) -> None:
        async def begin() -> Scheduler:
            return Scheduler(
                url,
                settings,
                actors=_most_actors(settings),
                takes_fewer_actors=True,
                holder=holder,
                take_over=take_over,
                start_valuer=self._start_worker,
            )

        metrics.begin_again()
        self._scheduler = self._answer(begin(), _ANSWER_SECONDS)

    def _start_worker(
        self, url: str, options: ValuerOptions, *, name: str, is_reserved: bool
    ) -> LocalWorker:
        worker = LocalWorker(url, options, name=name)
        self._workers.append(worker)
        return worker

    def ask(self, idle_seconds: float | None) -> dict[str, Any] | None:
        assert self._scheduler is not None
        try:
            progress = self._answer(self._scheduler.progress(idle_seconds), _ANSWER_SECONDS)
        except _SilentError:
            _log.warning("the scheduler does not answer", seconds=_ANSWER_SECONDS)
            self._silent += _ANSWER_SECONDS
            require_within(self._settings.outage_seconds, self._silent, "its scheduler is silent")
            return None
        self._silent = 0.0
        return progress

    def hand_over(self) -> dict[str, Any] | None:
        assert self._scheduler is not None
        try:
            return self._answer(self._scheduler.hand_over(), STOP_SECONDS)
        except _SilentError:
            self._abandon(self._scheduler)
            return {}

    def stop(self) -> bool:
        assert self._scheduler is not None
        try:
            self._answer(self._scheduler.drain(), STOP_SECONDS)
        except _SilentError:
            self._abandon(self._scheduler)
            return False
        return True

    def _abandon(self, scheduler: Scheduler) -> None:
        with suppress(_SilentError):
            self._answer(scheduler.abandon(), _END_SECONDS)

    def _answer(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run a coroutine of the scheduler, and wait for its end.

        Raises:
            _SilentError: it has not ended within `seconds`.
        """
        assert self._thread is not None
        answer = self._thread.submit(work)
        if not wait([answer], seconds).done:
            answer.cancel()
            raise _SilentError
        return answer.result()()


def _most_actors(settings: Settings) -> int:
    """Return the number of valuation actors: one of each core helps, more only wait for Python."""
    return min(_MAX_ACTORS, os.cpu_count() or 1, settings.actors or _MAX_ACTORS)
