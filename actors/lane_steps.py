"""The steps that a lane takes in its turn: apply, look, fan out, retry, stage.

A step that waits too long for rows that another database session has locked is abandoned; the other
steps continue.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import inf

from revalue.actors.attempts import Attempts
from revalue.actors.concurrency import now
from revalue.actors.lanes import LaneWork
from revalue.actors.lock_watch import Find, LeftBecause, LockWatch
from revalue.actors.progress import Progress
from revalue.actors.protocols import Steps
from revalue.engine import logs, metrics
from revalue.engine.core.lifecycle import Lane
from revalue.engine.errors import WriteConflictError
from revalue.engine.stage.outlook import UNKNOWN, Outlook
from revalue.engine.stage.scan import PAGE_POSITIONS

_log = logs.logger("scheduler")

_RETRY_JOBS = 50_000
_UNAPPLIED = LeftBecause("rows of position_state are locked", "what was valued waits")
# The live lane waits for queued triggers that affect its dates: for so long in all, and for so long
# while no page of them is fanned out.
_MAX_HOLD_SECONDS = 30.0
MAX_STALL_SECONDS = 5.0
# Pages of history are small for this long after the live lane has staged something, so that they
# slow down its next steps less.
_SMALL_PAGES_SECONDS = 5


class LaneSteps:
    """Takes the steps of both lanes. What a lane itself remembers is in its LaneWork.

    Attributes:
        locks: the locks of other database sessions that hold up steps.
        unapplied: the positions whose results recovery has left, because of locks.
        next_retry: when a deferred job is due (the event loop's clock); None: none is deferred.
    """

    def __init__(
        self,
        steps: Steps,
        attempts: Attempts,
        lanes: Mapping[Lane, LaneWork],
        progress: Progress,
        *,
        wake: Callable[[], None],
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        """Create the steps of one scheduler.

        Args:
            wake: is called when a transaction that held up something has ended.
            tell: is called when the trouble of `locks` may have changed.
        """
        self._steps = steps
        self._attempts = attempts
        self._lanes = lanes
        self._progress = progress
        self.locks = LockWatch(steps, left=self._left, wake=wake, tell=tell)
        self.unapplied: list[int] = []
        self.next_retry: float | None = None
        self._fanned_out_at = -inf

    async def recover(self) -> None:
        """Apply results that nobody has applied; release the attempts that nobody waits for."""
        known = self._attempts.tasks()
        try:
            self.unapplied = await self._steps.recover(known, leave_locked=bool(self.unapplied))
        except WriteConflictError as error:
            if not error.is_lock_timeout:
                raise
            self.unapplied = await self._steps.recover(known, leave_locked=True)

    def is_apply_held_up(self, work: LaneWork) -> bool:
        """Whether results of the lane wait for locks of other sessions."""
        return self.locks.holds_up("apply") or "apply" in work.held_up

    async def apply(self, work: LaneWork) -> bool:
        """Apply the results of attempts that have ended, and what recovery has left."""
        applied = await self._take_unless_held_up(
            work,
            "apply",
            lambda: self._attempts.apply_ended(
                work.lane, leave_locked=self.locks.holds_up("apply")
            ),
        )
        if applied and work.lane is Lane.LIVE:
            self._lanes[Lane.HISTORY].wake.set()  # it retries the jobs of both lanes
        if work.lane is Lane.HISTORY and self.unapplied and not self.locks.is_explained(_UNAPPLIED):
            recovered = await self._take_unless_held_up(work, "recover", self._apply_left)
            return applied or recovered
        return applied

    async def _apply_left(self) -> bool:
        """Apply what recovery has left, as far as it is no longer locked."""
        before = len(self.unapplied)
        self.unapplied = await self._steps.apply_left()
        return len(self.unapplied) < before

    async def create_jobs(self, work: LaneWork) -> bool:
        """Take the steps that create jobs, of those for which there is something to do."""
        outlook = await self._look(work)
        invalidated = retried = staged = False
        if work.lane is Lane.HISTORY:
            if not self.locks.holds_up("fan out"):
                invalidated = await self._take_unless_held_up(
                    work, "fan out", lambda: self._fan_out(work, outlook)
                )
            if not self.locks.holds_up("retry"):
                retried = await self._take_unless_held_up(
                    work, "retry", lambda: self._retry(work, outlook)
                )
        work.is_held = work.lane is Lane.LIVE and await self._is_live_held(work, outlook)
        if not work.is_held:
            staged = await self._take_unless_held_up(
                work, "stage", lambda: self._stage(work, outlook)
            )
        return invalidated or retried or staged

    async def _stage(self, work: LaneWork, outlook: Outlook) -> bool:
        staged, tasks, jobs = await work.stage(
            self._attempts.capacity(work.lane),
            outlook,
            leave_locked=self.locks.holds_up("stage"),
        )
        self._attempts.add(tasks)
        self._count_created(work.lane, jobs)
        return staged

    async def _look(self, work: LaneWork) -> Outlook:
        """Return what there is to do; UNKNOWN while another session has locked what it is read
        from."""
        found = UNKNOWN

        async def look() -> bool:
            nonlocal found
            found = await self._steps.outlook()
            return False

        if not self.locks.holds_up("look"):
            await self._take_unless_held_up(work, "look", look)
        if found is not UNKNOWN:
            self.next_retry = None if found.retry_in is None else now() + found.retry_in
        return found

    async def _is_live_held(self, live: LaneWork, outlook: Outlook) -> bool:
        """Whether staging of the live lane waits for queued triggers to be fanned out.

        What it stages before them would be valued twice. It waits as long as the fan-out advances,
        and not for ever: triggers may be queued again and again.
        """
        may_wait = (outlook.has_triggers or live.may_have_due(outlook)) and not self.locks.holds_up(
            "fan out"
        )
        if not may_wait or not await self._steps.is_live_held():
            live.held_since = None
            return False
        live.held_since = live.held_since or now()
        advanced = max(live.held_since, self._fanned_out_at)
        return now() - live.held_since < _MAX_HOLD_SECONDS and now() - advanced < MAX_STALL_SECONDS

    async def _fan_out(self, work: LaneWork, outlook: Outlook) -> bool:
        if not outlook.has_triggers:
            return False
        is_live_at_work = now() - self._lanes[Lane.LIVE].staged_at < _SMALL_PAGES_SECONDS
        max_positions = PAGE_POSITIONS // 4 if is_live_at_work else PAGE_POSITIONS
        with self._progress.timed("fan out"):
            step = await self._steps.fan_out(
                max_positions=max_positions, capacity=self._attempts.capacity(work.lane)
            )
        if step is None:
            return False
        self._fanned_out_at = now()
        self._lanes[Lane.LIVE].wake.set()  # it may be held until these triggers are fanned out
        self._progress.positions_invalidated += step.positions_invalidated
        self._attempts.add(step.tasks)
        self._count_created(work.lane, step.spans)
        if step.positions_invalidated > step.positions_staged:
            work.forget_scan()
        _log.info(
            "fanned out",
            trigger=logs.ranges((trigger, trigger) for trigger in step.trigger_ids),
            positions_invalidated=step.positions_invalidated,
            term=self._steps.term,
        )
        metrics.POSITIONS_INVALIDATED.inc(step.positions_invalidated)
        metrics.JOBS_FINISHED.labels(status="SUPERSEDED").inc(step.jobs_superseded)
        return True

    async def _retry(self, work: LaneWork, outlook: Outlook) -> bool:
        """Create tasks for deferred jobs of both lanes that are due again."""
        capacity = self._attempts.capacity(work.lane)
        if capacity <= 0 or outlook.retry_in is None or outlook.retry_in > 0:
            return False
        tasks = await self._steps.retry_due(max_jobs=_RETRY_JOBS, capacity=capacity)
        self._attempts.add(tasks)
        return bool(tasks)

    async def _take_unless_held_up(
        self, work: LaneWork, step: str, take: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Take a step, unless another database session holds locks that it needs.

        Only this step waits then. Nothing of it is written, so that nothing has to be recovered.
        """
        try:
            worked = await take()
        except WriteConflictError as error:
            if not error.is_lock_timeout:
                raise
            self.locks.gave_up(step)
            work.held_up.add(step)
            return False
        work.held_up.discard(step)
        return worked

    def _left(self) -> dict[LeftBecause, Find]:
        """Return what is left at present because of locks, and how to find whose locks they are."""
        calendars = {
            calendar for work in self._lanes.values() for calendar in work.locked_calendars
        }
        left: dict[LeftBecause, Find] = {
            LeftBecause(f"calendar {calendar} is locked", "its positions wait"): partial(
                self._steps.blockers_of_calendar, calendar
            )
            for calendar in sorted(calendars)
        }
        if self.unapplied:
            left[_UNAPPLIED] = partial(self._steps.blockers_of_positions, self.unapplied)
        return left

    def _count_created(self, lane: Lane, jobs: int) -> None:
        self._progress.jobs_created += jobs
        metrics.JOBS_CREATED.labels(lane=lane.value).inc(jobs)
