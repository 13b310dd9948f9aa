"""A bounded pool of valuation actors: the least loaded one first; a lost one is replaced.

Not built on `ray.util.ActorPool`, which queues without bound and never replaces a dead actor.
"""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from revalue.actors.backoff import Backoff
from revalue.actors.protocols import NoActorsError, TaskLostError, TaskNotBegunError
from revalue.actors.valuation import ValuationActor
from revalue.engine import logs
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import RevalueError, TransientError

_log = logs.logger("pool")

_START_DEADLINE_SECONDS = 60
_REPLACE_PAUSE_SECONDS = (0.5, 30.0)
_MAX_FAILED_STARTS = 5  # in a row, per actor of the pool


@dataclass(eq=False)
class _Worker:
    actor: ray.actor.ActorHandle
    name: str
    is_reserved: bool
    # The actor runs the first; the others wait in its queue.
    tasks: list[Task] = field(default_factory=list)
    alive: bool = True
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class ActorPool:
    """Runs tasks on `size` actors, with up to `tasks_per_actor` in flight on each.

    One more actor is reserved for the live lane, since a task of a mass correction can keep an
    actor for minutes. Use the pool from one event loop.

    Attributes:
        trouble: why actors cannot be started at present, or None.
        replaced: how many actors have been replaced.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        tasks_per_actor: int,
        max_attempts: int,
        task_deadline_seconds: float,
    ) -> None:
        self._url = url
        self._size = size
        self._tasks_per_actor = tasks_per_actor
        self._max_attempts = max_attempts
        self._deadline = task_deadline_seconds
        self._workers: list[_Worker] = []
        self._free = asyncio.Condition()
        self._background: set[asyncio.Task[None]] = set()
        self._closed = self._declines = False
        self._pauses = Backoff(*_REPLACE_PAUSE_SECONDS)
        self._failed_starts = 0
        self.trouble: str | None = None
        self.replaced = 0
        for _ in range(size):
            self._add_worker()
        self._add_worker(is_reserved=True)

    def capacity(self, lane: Lane) -> int:
        """The number of tasks of the lane that may be in flight at once."""
        return (self._size + (lane is Lane.LIVE)) * self._tasks_per_actor

    async def run(self, task: Task) -> TaskResult:
        """Run a task on the least loaded actor, as soon as one is free.

        Raises:
            TaskLostError: the actor died, or did not answer by the deadline. It is killed and
                replaced; whether the task committed has to be read from its job rows.
            TaskNotBegunError: no actor had taken it when the pool was told to begin nothing more.
            TransientError: the attempt wrote nothing.
            NoActorsError: no actor runs, and too many in a row could not be started.
        """
        worker = await self._take(task)
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(worker.actor.run.remote(task).future()), self._deadline
            )
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, BaseException) else error
            raise cause if isinstance(cause, RevalueError) else error from error
        except (RayError, TimeoutError) as error:
            # RayError and not ActorDiedError: an actor that Ray killed because memory was short
            # has not "died".
            self._replace(worker)
            is_late = isinstance(error, TimeoutError)
            why = "did not answer in time" if is_late else "died"
            message = f"the valuation actor of task {task.task_id} {why}: {error}"
            raise TaskLostError(
                message, worker.name, died=not is_late and worker.tasks[0] is task
            ) from error
        finally:
            async with self._free:
                if worker.alive:  # else its first task stays recorded as the one that it ran
                    worker.tasks.remove(task)
                self._free.notify_all()

    def decline(self) -> None:
        """Begin no further task: those that wait for an actor end with TaskNotBegunError."""
        self._declines = True
        self._run_in_background(self._notify())

    async def _notify(self) -> None:
        async with self._free:
            self._free.notify_all()

    async def close(self) -> None:
        """Kill the actors."""
        self._closed = True
        for task in self._background:
            task.cancel()
        for worker in self._workers:
            ray.kill(worker.actor)

    async def _take(self, task: Task) -> _Worker:
        async with self._free:
            while True:
                if self._declines:
                    raise TaskNotBegunError("no actor was free before the scheduler was stopped")
                usable = [
                    worker
                    for worker in self._workers
                    if worker.alive
                    and worker.ready.is_set()
                    and len(worker.tasks) < self._tasks_per_actor
                    and (task.lane is Lane.LIVE or not worker.is_reserved)
                ]
                if usable:
                    worker = min(usable, key=lambda w: (len(w.tasks), not w.is_reserved))
                    worker.tasks.append(task)
                    return worker
                self._raise_if_none_can_start()
                await self._free.wait()

    def _raise_if_none_can_start(self) -> None:
        if self._failed_starts < _MAX_FAILED_STARTS * self._size or any(
            worker.ready.is_set() for worker in self._workers
        ):
            return
        raise NoActorsError(
            f"no valuation actor runs, and {self._failed_starts} in a row could not be started: "
            f"{self.trouble}. Every node needs this version of revalue, Ray and Python, memory for "
            "its actors, and access to the database"
        )

    def _add_worker(self, *, is_reserved: bool = False) -> None:
        threads, name = "1", uuid.uuid4().hex[:12]
        # Ray must not repeat a call: the scheduler gives a lost attempt to another actor, under a
        # new task id.
        actor = (
            ray.remote(ValuationActor)
            .options(
                num_cpus=0 if is_reserved else 1,
                scheduling_strategy="SPREAD",
                max_restarts=0,
                max_task_retries=0,
                runtime_env={
                    "env_vars": {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}
                },
            )
            .remote(self._url, self._max_attempts, name, self._deadline)
        )
        worker = _Worker(actor, name, is_reserved)
        self._workers.append(worker)
        self._run_in_background(self._start(worker))

    async def _start(self, worker: _Worker) -> None:
        """Wait until the worker is connected; replace it if its process cannot be started."""
        try:
            await self._connect(worker)
        except TimeoutError:
            self._handle_failed_start(
                worker, "it did not start in time; the cluster may have no free CPU"
            )
        except RayError as error:
            self._failed_starts += 1
            self._handle_failed_start(
                worker, str(getattr(error, "cause", None) or error).strip().splitlines()[-1]
            )
        else:
            self._pauses.reset()
            self._failed_starts, self.trouble = 0, None
            worker.ready.set()
        async with self._free:
            self._free.notify_all()

    async def _connect(self, worker: _Worker) -> None:
        pauses = Backoff()
        while True:
            try:
                connected = worker.actor.connect.remote().future()
                return await asyncio.wait_for(
                    asyncio.wrap_future(connected), _START_DEADLINE_SECONDS
                )
            except RayTaskError as error:
                if not isinstance(error.cause, TransientError):
                    raise
                self._report_trouble(str(error.cause))
                await pauses.pause()

    def _handle_failed_start(self, worker: _Worker, reason: str) -> None:
        if not self._closed:
            self._report_trouble(reason)
            self._replace(worker)

    def _report_trouble(self, reason: str) -> None:
        """Log the reason once, until an actor starts."""
        if self.trouble is None:
            _log.warning("a valuation actor cannot start; retrying until one does", reason=reason)
        self.trouble = f"a valuation actor cannot start: {reason}"

    def _replace(self, worker: _Worker) -> None:
        if not worker.alive or self._closed:
            return
        worker.alive = False
        self.replaced += 1
        self._workers.remove(worker)
        ray.kill(worker.actor)
        self._run_in_background(self._add_worker_later(is_reserved=worker.is_reserved))

    async def _add_worker_later(self, *, is_reserved: bool) -> None:
        await self._pauses.pause()
        self._add_worker(is_reserved=is_reserved)

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
