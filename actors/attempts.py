"""The attempts of a scheduler: started on the pool, applied at their end, or released."""

import asyncio
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from revalue.actors.attempt import Attempt, AttemptState
from revalue.actors.backoff import Backoff, require_within
from revalue.actors.concurrency import now
from revalue.actors.progress import Progress
from revalue.actors.protocols import Pool, Steps, TaskLostError
from revalue.engine import logs, metrics
from revalue.engine.apply.apply import ALONE_AFTER_DEATHS
from revalue.engine.core.lifecycle import JobStatus, Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import TransientError
from revalue.engine.settings import Settings

_log = logs.logger("scheduler")

_UNFINISHED = {JobStatus.WAITING_FOR_DATA, JobStatus.FAILED}
_AT_WORK = (AttemptState.OFFERED, AttemptState.RUNNING)
_UNAPPLIED = (AttemptState.ENDED, AttemptState.LEFT)
_IN_FLIGHT = _AT_WORK + _UNAPPLIED


class Attempts:
    """All attempts that are not in a final state. Attempts change their states here only.

    Attributes:
        trouble: why the last attempt could write nothing, until one succeeds; or None.
    """

    def __init__(
        self,
        steps: Steps,
        pool: Pool,
        settings: Settings,
        progress: Progress,
        *,
        ended: Callable[[Lane], None],
    ) -> None:
        """Create an empty table.

        Args:
            ended: called with the lane of an attempt each time one has ended.
        """
        self._steps = steps
        self._pool = pool
        self._progress = progress
        self._tell_ended = ended
        self._starts_per_second = settings.task_starts_per_second
        self._max_deaths = ALONE_AFTER_DEATHS + settings.max_attempts
        self._attempts: list[Attempt] = []
        self._starting: asyncio.Task[None] | None = None
        self._next_start = 0.0
        self._is_held = self._is_closed = False
        self._setbacks, self._setback_until = Backoff(), 0.0
        self.trouble: str | None = None
        self._trouble_since = 0.0
        self._clock = asyncio.get_running_loop().time  # the metrics server has no event loop
        metrics.TASKS_IN_FLIGHT.set_function(lambda: len(self._among(None, _IN_FLIGHT)))
        metrics.OLDEST_IN_FLIGHT.set_function(self._oldest_seconds)

    def add(self, tasks: Iterable[Task]) -> None:
        """Queue tasks whose jobs have just been created."""
        self._attempts.extend(Attempt(task) for task in tasks)
        self._start_soon()

    def hold(self, is_held: bool) -> None:
        """Give no queued attempt to the pool while `is_held`."""
        self._is_held = is_held
        if not is_held:
            self._start_soon()

    def tasks(self) -> list[Task]:
        """The tasks of all attempts. Their jobs must not be given to other tasks."""
        return [attempt.task for attempt in self._attempts]

    def capacity(self, lane: Lane) -> int:
        """How many more tasks may be created: as many as the pool takes, and one that follows."""
        waiting_or_at_work = self._among(lane, (AttemptState.QUEUED, *_AT_WORK))
        return self._pool.capacity(lane) + 1 - len(waiting_or_at_work)

    def count(self, lane: Lane | None = None) -> int:
        """The number of attempts of a lane; without one, of all lanes."""
        return len(self._among(lane, tuple(AttemptState)))

    def in_flight(self, lane: Lane | None = None) -> int:
        """The number of attempts that were given to the pool and are not applied yet."""
        return len(self._among(lane, _IN_FLIGHT))

    def queued(self, lane: Lane | None = None) -> int:
        """The number of attempts that are not given to the pool yet."""
        return len(self._among(lane, (AttemptState.QUEUED,)))

    def _among(self, lane: Lane | None, states: tuple[AttemptState, ...]) -> list[Attempt]:
        return [
            attempt
            for attempt in self._attempts
            if attempt.state in states and lane in (None, attempt.task.lane)
        ]

    def _start_soon(self) -> None:
        if self._next_queued() and (self._starting is None or self._starting.done()):
            self._starting = asyncio.create_task(self._start_queued())

    async def _start_queued(self) -> None:
        """Give queued attempts to the pool at the configured rate, as long as there is capacity."""
        while (attempt := self._next_queued()) is not None:
            wait = self._next_start - now()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            self._next_start = now() + (0.5 + random.random()) / self._starts_per_second
            answer = asyncio.create_task(self._pool.run(attempt.task, attempt.taken))
            attempt.offer(answer)
            answer.add_done_callback(partial(self._ended, attempt))

    def _next_queued(self) -> Attempt | None:
        if self._is_held or self._is_closed:
            return None
        for lane in (Lane.LIVE, Lane.HISTORY):
            queued = self._among(lane, (AttemptState.QUEUED,))
            if queued and len(self._among(lane, _AT_WORK)) < self._pool.capacity(lane):
                return queued[0]
        return None

    def _ended(self, attempt: Attempt, answer: "asyncio.Task[TaskResult]") -> None:
        if not answer.cancelled():
            answer.exception()  # asyncio logs those that nobody asks for: of what is left behind
        if attempt.answer is not answer or attempt.is_final:  # it was withdrawn, or left behind
            return
        attempt.enter(AttemptState.ENDED)
        self._tell_ended(attempt.task.lane)
        self._start_soon()

    async def apply_ended(self, lane: Lane, *, leave_locked: bool = False) -> bool:
        """Apply the results of the lane's attempts that have ended, and release those without one.

        Args:
            leave_locked: leave positions that another session has locked. Their attempts become
                LEFT, until a later call without it. Otherwise wait for them.

        Returns:
            Whether any had ended.
        """
        states = (AttemptState.ENDED,) if leave_locked else _UNAPPLIED
        ended = self._among(lane, states)
        if not ended:
            return False
        if done := [attempt for attempt in ended if attempt.failure is None]:
            await self._apply(done, leave_locked=leave_locked)
        for attempt in ended:
            failure = attempt.failure
            if isinstance(failure, TransientError):
                await self._release(attempt, failure, leave_locked=leave_locked)
            elif failure is not None:
                raise failure
        return True

    async def _apply(self, done: list[Attempt], *, leave_locked: bool) -> None:
        with self._progress.timed("apply"):
            left = await self._steps.apply(
                [attempt.task for attempt in done], leave_locked=leave_locked
            )
        applied = []
        for attempt in done:
            if attempt.task in left:
                attempt.enter(AttemptState.LEFT)
            else:
                attempt.enter(AttemptState.APPLIED)
                applied.append(attempt)
        self._drop_final()
        for attempt in applied:
            self._progress.count(attempt.result)
            metrics.observe_task(attempt.result, attempt.seconds)
        if applied:
            self.trouble = None
            self._setbacks.reset()
        await self._steps.log_unfinished(
            [attempt.task for attempt in applied if attempt.result.statuses.keys() & _UNFINISHED]
        )

    async def _release(
        self, attempt: Attempt, failure: TransientError, *, leave_locked: bool
    ) -> None:
        task = attempt.task
        lost = failure if isinstance(failure, TaskLostError) else None
        pause = 0.0
        if lost is None and attempt.state is AttemptState.ENDED:
            # Its jobs alone wait: other attempts may well succeed, on other actors.
            pause = self._pause_seconds()
            self._note_trouble(str(failure))
        failed, is_applied = await self._steps.release(
            task,
            reason=f"{type(failure).__name__}: {failure}"[:500],
            pause_seconds=pause,
            worker=lost.worker if lost else None,
            max_deaths=self._max_deaths if lost and lost.died else None,
            leave_locked=leave_locked,
        )
        if failed:
            _log.error(
                "job failed: its process died at every attempt, also when the job ran alone",
                task=task.task_id,
                position=task.first_position_id,
            )
        if not is_applied:
            if attempt.state is AttemptState.ENDED:
                attempt.enter(AttemptState.LEFT)
            return
        attempt.enter(AttemptState.RELEASED)
        self._drop_final()
        if lost:
            _log.warning(
                "task abandoned, its jobs are released",
                task=task.task_id,
                spans=task.spans,
                rows=task.rows,
                reason=str(failure),
            )
            self._progress.tasks_lost += 1
            metrics.TASKS_LOST.inc()

    def _pause_seconds(self) -> float:
        """Return how long the jobs of an attempt that has just failed wait.

        The pause grows each time it is over, not with every attempt that fails during it.
        """
        if now() >= self._setback_until:
            self._setback_until = now() + self._setbacks.next_seconds()
        return self._setback_until - now()

    def _note_trouble(self, trouble: str) -> None:
        if self.trouble is None:
            self._trouble_since = now()
            _log.warning("retrying until it succeeds", trouble=trouble, term=self._steps.term)
        self.trouble = trouble

    def require_no_outage(self, most_seconds: float) -> None:
        """Raise OutageError if attempts were made and none has succeeded for longer."""
        if self.trouble is not None:
            require_within(most_seconds, now() - self._trouble_since, self.trouble)

    def forget_trouble(self) -> None:
        """Forget the trouble, when no job waits for another attempt."""
        self.trouble = None

    def withdraw(self) -> None:
        """Give no more attempts to the pool, and take back those that no actor has taken."""
        self._is_closed = True
        for attempt in self._among(None, (AttemptState.OFFERED,)):
            attempt.withdraw()

    async def hand_back(self, lane: Lane) -> bool:
        """Release the lane's queued attempts; they are not counted. Return whether any was."""
        queued = self._among(lane, (AttemptState.QUEUED,))
        for attempt in queued:
            await self._steps.release(attempt.task, reason="released: the scheduler was stopped")
            attempt.enter(AttemptState.RELEASED)
            self._drop_final()
        return bool(queued)

    def leave_behind(self, lane: Lane) -> None:
        """Leave the lane's attempts that have ended to the next scheduler, which applies them."""
        for attempt in self._among(lane, _UNAPPLIED):
            attempt.enter(AttemptState.LEFT_BEHIND)
        self._drop_final()

    async def close(self) -> None:
        """Leave everything to the next scheduler, which reads the outcome from the database."""
        self._is_closed = True
        waiting: list[asyncio.Task[Any]] = [each.answer for each in self._attempts if each.answer]
        waiting += [self._starting] if self._starting else []
        for attempt in self._attempts:
            attempt.enter(AttemptState.LEFT_BEHIND)
        self._drop_final()
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _drop_final(self) -> None:
        self._attempts = [attempt for attempt in self._attempts if not attempt.is_final]

    def _oldest_seconds(self) -> float:
        """Seconds since the oldest start. The metrics server's thread calls it."""
        begun = [each.begun for each in self._among(None, _IN_FLIGHT) if each.begun is not None]
        return self._clock() - min(begun) if begun else 0.0
