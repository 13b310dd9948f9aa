"""Tasks in flight: started on the pool, applied at their end, abandoned with a lost actor."""

import asyncio
import random
from collections.abc import Callable
from time import monotonic

from revalue.actors.lanes import LaneWork
from revalue.actors.progress import Progress
from revalue.actors.protocols import Pool, TaskLostError, TaskNotBegunError
from revalue.engine import logs, metrics
from revalue.engine.apply import apply
from revalue.engine.apply.unfinished import log_unfinished_jobs
from revalue.engine.core.lifecycle import JobStatus, Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import TransientError
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

_log = logs.logger("scheduler")

_UNFINISHED = {JobStatus.WAITING_FOR_DATA, JobStatus.FAILED}


class InFlightTasks:
    """The tasks that the pool works on.

    Attributes:
        is_setback: an attempt could not write and none has succeeded since, so the cause may still
            exist.
    """

    def __init__(
        self, database: Database, pool: Pool, term: Term, settings: Settings, progress: Progress
    ) -> None:
        self._database = database
        self._pool = pool
        self._term = term
        self._progress = progress
        self._starts_per_second = settings.task_starts_per_second
        self._retry_seconds = settings.retry_seconds
        self._max_deaths = apply.ALONE_AFTER_DEATHS + settings.max_attempts
        self._in_flight: dict[asyncio.Task[TaskResult], tuple[Task, float]] = {}
        # Of those that have ended: all is applied but for positions that are locked.
        self._left: set[asyncio.Task[TaskResult]] = set()
        self._next_start = 0.0
        self.is_setback = False
        metrics.TASKS_IN_FLIGHT.set_function(lambda: len(self._in_flight))
        metrics.OLDEST_IN_FLIGHT.set_function(self._oldest_seconds)

    def tasks(self) -> list[Task]:
        """The tasks in flight."""
        return [task for task, _ in self._in_flight.values()]

    def capacity(self, work: LaneWork) -> int:
        """How many more tasks may be created: as many as the pool takes, and one to follow."""
        return self._pool.capacity(work.lane) + 1 - self._running(work.lane) - len(work.queue)

    def count(self, lane: Lane) -> int:
        """How many tasks of the lane are in flight: running, or ended and not yet applied."""
        return sum(task.lane is lane for task, _ in self._in_flight.values())

    def _running(self, lane: Lane) -> int:
        return sum(
            task.lane is lane and not attempt.done()
            for attempt, (task, _) in self._in_flight.items()
        )

    async def start(
        self, work: LaneWork, *, is_stopping: Callable[[], bool], ended: Callable[[], None]
    ) -> bool:
        """Start the queued tasks of the lane, staggered at the configured rate.

        Args:
            is_stopping: once it is true, no further task is started.
            ended: is called each time an attempt has ended.

        Returns:
            Whether a task was started.
        """
        started = False
        while work.queue and self._running(work.lane) < self._pool.capacity(work.lane):
            wait = self._next_start - monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            if is_stopping():
                break
            self._next_start = monotonic() + (0.5 + random.random()) / self._starts_per_second
            task = work.queue.popleft()
            attempt = asyncio.create_task(self._pool.run(task))
            attempt.add_done_callback(lambda _: ended())
            self._in_flight[attempt] = (task, monotonic())
            started = True
        return started

    async def apply_ended(self, lane: Lane, *, leave_locked: bool = False) -> bool:
        """Apply the results of the lane's attempts that have ended.

        Args:
            leave_locked: leave positions that another session has locked. Their attempts stay in
                flight until a later call without it. Otherwise wait for them.

        Returns:
            Whether any had ended.

        Raises:
            TransientError: an attempt could not write; its jobs have been released.
        """
        ended = [
            attempt
            for attempt, (task, _) in self._in_flight.items()
            if task.lane is lane and attempt.done()
            if not (leave_locked and attempt in self._left)
        ]
        if not ended:
            return False
        left_before = self._left.intersection(ended)
        self._left -= left_before
        done: list[asyncio.Task[TaskResult]] = []
        setback: TransientError | None = None
        for attempt in ended:
            failure = attempt.exception()
            if failure is None:
                done.append(attempt)
            elif isinstance(failure, TransientError):
                await self._abandon(attempt, failure, leave_locked=leave_locked)
                is_setback = not isinstance(failure, TaskLostError | TaskNotBegunError)
                if is_setback and attempt not in left_before:
                    setback = failure
            else:
                raise failure
        if done:
            with self._progress.timed("apply"):
                left = await apply.apply(
                    self._term,
                    [self._in_flight[attempt][0] for attempt in done],
                    retry_seconds=self._retry_seconds,
                    leave_locked=leave_locked,
                )
            self._left.update(attempt for attempt in done if self._in_flight[attempt][0] in left)
            done = [attempt for attempt in done if attempt not in self._left]
            unfinished = [
                self._in_flight[attempt][0]
                for attempt in done
                if attempt.result().statuses.keys() & _UNFINISHED
            ]
            await log_unfinished_jobs(self._database, unfinished)
        for attempt in done:
            _, begun = self._in_flight.pop(attempt)
            self.is_setback = False
            self._progress.count(attempt.result())
            metrics.observe_task(attempt.result(), monotonic() - begun)
        self._progress.in_flight = len(self._in_flight)
        if setback is not None:
            self.is_setback = True
            raise setback
        return True

    def leave_ended(self, lane: Lane) -> None:
        """Leave the lane's attempts that have ended to the next scheduler, which applies them."""
        for attempt, (task, _) in list(self._in_flight.items()):
            if task.lane is lane and attempt.done():
                del self._in_flight[attempt]
                self._left.discard(attempt)

    def decline(self) -> None:
        """Begin no task that no actor has taken yet: it ends, and its jobs are released."""
        self._pool.decline()

    async def hand_back(self, work: LaneWork) -> None:
        """Release the lane's queued tasks; no attempt is counted."""
        while work.queue:
            await apply.release(
                self._term,
                work.queue[0],
                retry_seconds=self._retry_seconds,
                reason="released: the scheduler was stopped",
            )
            work.queue.popleft()

    async def cancel(self) -> None:
        """Stop waiting for attempts: the next scheduler reads their outcome from the database."""
        for attempt in self._in_flight:
            attempt.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _abandon(
        self, attempt: "asyncio.Task[TaskResult]", failure: TransientError, *, leave_locked: bool
    ) -> None:
        task, _ = self._in_flight[attempt]
        reason = f"{type(failure).__name__}: {failure}"[:500]
        worker = failure.worker if isinstance(failure, TaskLostError) else None
        max_deaths = (
            self._max_deaths if isinstance(failure, TaskLostError) and failure.died else None
        )
        failed, is_applied = await apply.release(
            self._term,
            task,
            retry_seconds=self._retry_seconds,
            reason=reason,
            worker=worker,
            max_deaths=max_deaths,
            leave_locked=leave_locked,
        )
        if failed:
            _log.error(
                "job failed: its process died at every attempt, also when the job ran alone",
                job=task.first_job_id,
            )
        if not is_applied:
            self._left.add(attempt)
            return
        del self._in_flight[attempt]
        if isinstance(failure, TaskLostError):
            jobs = logs.ranges([(task.first_job_id, task.last_job_id)])
            _log.warning(
                "task abandoned, its jobs are released",
                task=task.task_id,
                job=jobs,
                rows=task.rows,
                reason=str(failure),
            )
            self._progress.tasks_lost += 1
            metrics.TASKS_LOST.inc()

    def _oldest_seconds(self) -> float:
        """Seconds since the oldest start. Uses a copy: the metrics server's thread calls it."""
        return max(
            (monotonic() - begun for _, begun in list(self._in_flight.values())), default=0.0
        )
