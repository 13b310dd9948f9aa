"""The scheduler's loop: fan out, retry, stage, start attempts, apply. It knows neither SQL nor Ray.

Each lane takes turns of its own, concurrently with the other lane, so that today's valuations do
not wait for a page of a mass correction. All state that has to last is in PostgreSQL; what is kept
in memory (attempts, scan cursors) is restored by `recover` in the next scheduler. The scheduler
alone advances watermarks.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from functools import partial
from math import inf

from revalue.actors.attempts import Attempts
from revalue.actors.backoff import Backoff, require_within
from revalue.actors.concurrency import arrives_within, gather_all, now, raise_most_serious
from revalue.actors.lanes import LaneState, LaneWork
from revalue.actors.lock_watch import Find, LeftBecause, LockWatch
from revalue.actors.progress import Progress
from revalue.actors.protocols import Pool, Steps
from revalue.engine import logs, metrics
from revalue.engine.core.lifecycle import Lane
from revalue.engine.errors import (
    DatabaseUnavailableError,
    OutageError,
    RevalueError,
    TermLostError,
    TransientError,
    WriteConflictError,
)
from revalue.engine.leadership.term import Control
from revalue.engine.settings import Settings
from revalue.engine.stage.outlook import UNKNOWN, Outlook
from revalue.engine.stage.stage import PAGE_POSITIONS

_log = logs.logger("scheduler")

_RETRY_JOBS = 50_000
_UNAPPLIED = LeftBecause("rows of position_state are locked", "what was valued waits")
# The live lane waits for queued triggers that affect its dates: for so long in all, and for so long
# while no page of them is fanned out.
_MAX_HOLD_SECONDS = 30.0
_MAX_STALL_SECONDS = 5.0
_MAX_GIVE_WAY_SECONDS = 0.25
# While it is notified of every commit, an idle lane looks for work so many times as seldom.
_IDLE_POLLS = 12
_MAX_IDLE_SECONDS = 60.0
# Pages of history are small for this long after the live lane has staged something, so that they
# slow down its next steps less.
_SMALL_PAGES_SECONDS = 5


class Phase(StrEnum):
    """What the loop does. From RECOVERING to WAITING it goes round, until it has ENDED."""

    RECOVERING = "recovering"  # brings order into what was begun, before the first turn
    TURNING = "turning"  # both lanes take turns
    HALTING = "halting"  # a lane has met an error; the other one ends its turn
    WAITING = "waiting"  # for the end of a transient error
    ENDED = "ended"


class SchedulerLoop:
    """One scheduler in one term. `run` ends when `stop` is called, or by raising TermLostError.

    A *turn* is one iteration of a lane: it takes each step of the protocol once.

    Attributes:
        progress: what it has done so far.
        phase: what it does now.
        is_stopping: it has been asked to end: it begins nothing more.
    """

    def __init__(self, steps: Steps, pool: Pool, settings: Settings) -> None:
        """Create a scheduler that does not run yet."""
        self._steps = steps
        self._settings = settings
        self.progress = Progress(term=steps.term)
        self.phase = Phase.RECOVERING
        self.is_stopping = False
        self._lanes = {lane: LaneWork(lane, steps, self.progress) for lane in Lane}
        self._attempts = Attempts(steps, pool, settings, self.progress, ended=self._attempt_ended)
        self._locks = LockWatch(steps, left=self._left, wake=self.wake, tell=self._tell_trouble)
        self._unapplied: list[int] = []  # positions that recovery has left, because of locks
        self._fanned_out_at = -inf
        self._next_retry: float | None = None  # when a deferred job is due; None: none is deferred
        self._transient_since = 0.0
        self._transient: str | None = None  # what the loop tries again until it succeeds
        self._failing: set[Lane] = set()  # whose last turn has met it
        self._is_listening = False  # so that nothing is committed without a notification
        self._is_cut_off = False  # the server may have been replaced since the last recovery
        self._woken = asyncio.Event()
        self._turned = asyncio.Condition()

    def wake(self) -> None:
        """Look for work now: the database may have changed. Call it from the loop's thread."""
        for work in self._lanes.values():
            work.look_again()
        self._woken.set()

    def stop(self) -> None:
        """Start no new attempt; `run` returns when those that run have been applied.

        Those that no actor has taken are released: there may never be one.
        """
        self.is_stopping = True
        self._attempts.withdraw()
        self.wake()

    async def run(self) -> None:
        """Recover what the previous scheduler left, then work until stopped.

        Transient errors are waited out, for outage_seconds at most. At the end the attempts in
        flight are applied, and those that were not begun are released without being counted.

        Raises:
            OutageError: the database has been away for longer.
            TermLostError: another scheduler leads.
        """
        backoff = Backoff()
        beside = [
            asyncio.create_task(work()) for work in (self._beat, self._listen, self._locks.run)
        ]
        try:
            while not self._is_over():
                try:
                    self.phase = Phase.RECOVERING
                    await self.recover()
                    await self._turn_lanes(beside, backoff)
                except OutageError:
                    raise
                except TransientError as error:
                    self.phase = Phase.WAITING
                    self._attempts.hold(True)
                    if self._transient is None:
                        _log.warning(
                            "retrying until it succeeds",
                            trouble=str(error),
                            term=self._steps.term,
                        )
                        self._transient_since = now()
                    self._transient = str(error)
                    require_within(
                        self._settings.outage_seconds, now() - self._transient_since, error
                    )
                    self._steps.forget_connections()
                    await self._tell_trouble()
                    await backoff.pause()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, self._attempts.close(), return_exceptions=True)
            self.phase = Phase.ENDED
            async with self._turned:
                self._turned.notify_all()

    def _is_over(self, lane: Lane | None = None) -> bool:
        """Whether nothing is left to do of a lane (without one: of any) after a stop."""
        return self.is_stopping and not self._attempts.count(lane)

    async def _turn_lanes(self, beside: "Sequence[asyncio.Task[None]]", backoff: Backoff) -> None:
        """Take the turns of both lanes until the scheduler has been stopped.

        If one lane raises, or what runs beside them (the term is lost, for example), the other lane
        ends its turn first, so that it is never interrupted in the middle of a transaction.
        """
        self.phase = Phase.TURNING
        turning = [
            asyncio.create_task(self._keep_turning(work, backoff)) for work in self._lanes.values()
        ]
        left = {*turning, *beside}
        try:
            while left.intersection(turning):
                ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                if ended.intersection(beside) or any(each.exception() for each in ended):
                    self.phase = Phase.HALTING
                    for work in self._lanes.values():
                        work.wake.set()
        finally:
            self.phase = Phase.HALTING
            for each in turning:
                each.cancel()  # no effect on those that have ended
            await asyncio.gather(*turning, return_exceptions=True)
        raise_most_serious([each.exception() for each in [*beside, *turning] if each not in left])

    async def _keep_turning(self, work: LaneWork, backoff: Backoff) -> None:
        """Take turns until the scheduler is stopped and has nothing more to apply of the lane.

        The other lane may have created attempts of this one in its last turn (a retry does): `run`
        goes round again for them.
        """
        while not self._is_over(work.lane) and self.phase is Phase.TURNING:
            try:
                self._require_not_cut_off()
                worked = await self._turn(work)
            except TransientError:
                self._failing.add(work.lane)
                raise
            self._failing.discard(work.lane)
            if not self._failing:  # that one lane succeeds says nothing of the other one
                self._transient = None
                backoff.reset()
            await self._tell_trouble()
            self._attempts.require_no_outage(self._settings.outage_seconds)
            if not worked and not self._is_over(work.lane):
                await self._sleep(work)

    async def recover(self) -> None:
        """Apply results that nobody has applied; release the attempts that nobody waits for."""
        self._is_cut_off = False
        known = self._attempts.tasks()
        for work in self._lanes.values():
            work.forget_passes()
        try:
            self._unapplied = await self._steps.recover(known, leave_locked=bool(self._unapplied))
        except WriteConflictError as error:
            if not error.is_lock_timeout:
                raise
            self._unapplied = await self._steps.recover(known, leave_locked=True)

    def _require_not_cut_off(self) -> None:
        """Raise a transient error once the listener's session was lost: its end is recovery.

        A pool opens its other connections anew without a word. So an idle scheduler may have no
        other sign that its server was replaced by one without the last commits.
        """
        if self._is_cut_off:
            raise DatabaseUnavailableError("the database session that listens for changes was lost")

    async def woken(self) -> None:
        """Return when something may have changed since the last call: a commit, a finished task."""
        await self._woken.wait()
        self._woken.clear()

    async def run_once(self) -> bool:
        """Take one turn of each lane; return whether it did anything.

        Raises:
            TermLostError: another scheduler leads.
            TransientError: the database cannot be reached, or a transaction gave way.
        """
        worked = [await self._turn(self._lanes[lane]) for lane in (Lane.LIVE, Lane.HISTORY)]
        return any(worked)

    async def _turn(self, work: LaneWork) -> bool:
        work.begin_turn()
        worked = await self._take_steps(work)
        paused = self.progress.paused
        work.end_turn(
            worked=worked,
            is_busy=bool(
                self._attempts.in_flight(work.lane)
                or (self._attempts.queued(work.lane) and not paused)
            ),
            is_locked=bool(self._unapplied),
            is_paused=paused,
        )
        self.progress.in_flight = self._attempts.in_flight()
        self.progress.idle = self._is_idle()
        async with self._turned:
            self._turned.notify_all()
        return worked

    def _is_idle(self) -> bool:
        """Whether nothing is left to do now, as far as the loop knows.

        Not by the lanes alone: the history lane's retries create attempts of the live lane.
        """
        is_busy = self._attempts.in_flight() or (
            self._attempts.queued() and not self.progress.paused
        )
        return not is_busy and all(each.state is LaneState.IDLE for each in self._lanes.values())

    async def _take_steps(self, work: LaneWork) -> bool:
        control = await self._steps.control()
        if control.drain and not self.is_stopping:
            _log.info("draining, as an operator has asked", term=self._steps.term)
            self.stop()
        self.progress.paused = control.paused
        self._attempts.hold(control.paused)
        work.is_held = False
        if self.is_stopping:
            await self._attempts.hand_back(work.lane)
        if self.is_stopping or control.paused:
            applied = await self._apply(work)
            if self.is_stopping and (self._locks.holds_up("apply") or "apply" in work.held_up):
                self._attempts.leave_behind(work.lane)
            return applied
        # Concurrently: the two long steps of a mass correction do not wait for each other.
        applied, created = await gather_all(self._apply(work), self._create_jobs(work))
        return applied or created

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
            self._locks.gave_up(step)
            work.held_up.add(step)
            return False
        work.held_up.discard(step)
        return worked

    async def _apply(self, work: LaneWork) -> bool:
        applied = await self._take_unless_held_up(
            work,
            "apply",
            lambda: self._attempts.apply_ended(
                work.lane, leave_locked=self._locks.holds_up("apply")
            ),
        )
        if applied and work.lane is Lane.LIVE:
            self._lanes[Lane.HISTORY].wake.set()  # it retries the jobs of both lanes
        if work.lane is Lane.HISTORY and self._unapplied and not self._locks.is_told(_UNAPPLIED):
            recovered = await self._take_unless_held_up(work, "recover", self._apply_left)
            return applied or recovered
        return applied

    async def _apply_left(self) -> bool:
        """Apply what recovery has left, as far as it is no longer locked."""
        before = len(self._unapplied)
        self._unapplied = await self._steps.apply_left()
        return len(self._unapplied) < before

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
        if self._unapplied:
            left[_UNAPPLIED] = partial(self._steps.blockers_of_positions, self._unapplied)
        return left

    async def _look(self, work: LaneWork) -> Outlook:
        """Return what there is to do; UNKNOWN while another session locks what tells it."""
        found = UNKNOWN

        async def look() -> bool:
            nonlocal found
            found = await self._steps.outlook()
            return False

        if not self._locks.holds_up("look"):
            await self._take_unless_held_up(work, "look", look)
        if found is not UNKNOWN:
            self._next_retry = None if found.retry_in is None else now() + found.retry_in
        return found

    async def _create_jobs(self, work: LaneWork) -> bool:
        """Take the steps that create jobs, of those for which there is something to do."""
        outlook = await self._look(work)
        invalidated = retried = staged = False
        if work.lane is Lane.HISTORY:
            await self._give_way()
            if not self._locks.holds_up("fan out"):
                invalidated = await self._take_unless_held_up(
                    work, "fan out", lambda: self._fan_out(work, outlook)
                )
            if not self._locks.holds_up("retry"):
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
            leave_locked=self._locks.holds_up("stage"),
        )
        self._attempts.add(tasks)
        self._count_created(work.lane, jobs)
        return staged

    async def is_quiet(self) -> bool:
        """Whether nothing is left to do now: what remains waits for data, has failed, or is paused.

        True only after a whole turn of each lane that began after the call, so that everything
        committed before the call is included. While there is trouble no turn is completed; the
        answer is then False at once, so that the caller does not wait for the database.
        """
        if not self.progress.idle:
            return False
        lanes = self._lanes.values()
        begun_before = [work.turns_begun for work in lanes]
        self.wake()

        def turned() -> bool:
            return all(
                work.turns_ended > begun for work, begun in zip(lanes, begun_before, strict=True)
            )

        await self.until(lambda: turned() or self.progress.trouble is not None)
        if self.phase is Phase.ENDED or self.progress.trouble:
            return False
        depth = {} if self.progress.paused else await self._steps.queue_depth()
        is_between_turns = all(work.turns_begun == work.turns_ended for work in lanes)
        return self._is_idle() and is_between_turns and not any(depth.values())

    async def busy_within(self, seconds: float) -> None:
        """Return when something is done or has changed, at the latest after so many seconds.

        An idle scheduler is not disturbed by it, as it is by `is_quiet`.
        """

        def shown() -> tuple[bool, bool, str | None]:
            return self.progress.idle, self.progress.paused, self.progress.trouble

        before = shown()

        if self.progress.idle and self.phase is not Phase.ENDED:
            await arrives_within(lambda: self.until(lambda: shown() != before), seconds)

    def is_resting(self) -> bool:
        """Whether it has nothing to do, and neither an operator nor trouble keeps it from work."""
        progress = self.progress
        return progress.idle and not progress.paused and progress.trouble is None

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Wait until a turn, or a change of trouble, has made the condition true.

        Returns:
            False: it may not be, because there are no more turns.
        """
        async with self._turned:
            await self._turned.wait_for(lambda: condition() or self.phase is Phase.ENDED)
        return self.phase is not Phase.ENDED

    async def _give_way(self) -> None:
        """Let the live lane finish its turn before a page of history, which would slow it down."""
        live = self._lanes[Lane.LIVE]
        async with self._turned:
            until = now() + _MAX_GIVE_WAY_SECONDS
            while self.phase is Phase.TURNING and live.state in (
                LaneState.WORKING,
                LaneState.LOCKED,
            ):
                if not await arrives_within(self._turned.wait, until - now()):
                    return

    async def _is_live_held(self, live: LaneWork, outlook: Outlook) -> bool:
        """Whether staging of the live lane waits for queued triggers to be fanned out.

        What it stages before them would be valued twice. It waits as long as the fan-out advances,
        and not for ever: triggers may be queued again and again.
        """
        may_wait = (outlook.has_triggers or live.owes(outlook)) and not self._locks.holds_up(
            "fan out"
        )
        if not may_wait or not await self._steps.is_live_held():
            live.held_since = None
            return False
        live.held_since = live.held_since or now()
        advanced = max(live.held_since, self._fanned_out_at)
        return now() - live.held_since < _MAX_HOLD_SECONDS and now() - advanced < _MAX_STALL_SECONDS

    async def _fan_out(self, work: LaneWork, outlook: Outlook) -> bool:
        if not outlook.has_triggers:
            return False
        is_live_at_work = now() - self._lanes[Lane.LIVE].staged_at < _SMALL_PAGES_SECONDS
        max_positions = PAGE_POSITIONS // 4 if is_live_at_work else PAGE_POSITIONS
        with self.progress.timed("fan out"):
            step = await self._steps.fan_out(
                max_positions=max_positions, capacity=self._attempts.capacity(work.lane)
            )
        if step is None:
            return False
        self._fanned_out_at = now()
        self._lanes[Lane.LIVE].wake.set()  # it may be held until these triggers are fanned out
        self.progress.positions_invalidated += step.positions_invalidated
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

    def _attempt_ended(self, lane: Lane) -> None:
        self._lanes[lane].wake.set()
        self._woken.set()

    def _count_created(self, lane: Lane, jobs: int) -> None:
        self.progress.jobs_created += jobs
        metrics.JOBS_CREATED.labels(lane=lane.value).inc(jobs)

    async def _tell_trouble(self) -> None:
        trouble = self._transient or self._attempts.trouble or self._locks.trouble
        if trouble != self.progress.trouble:
            self.progress.trouble = trouble
            async with self._turned:
                self._turned.notify_all()

    async def _sleep(self, work: LaneWork) -> None:
        """Wait for a commit, a result, the next retry that is due, or the poll interval."""
        seconds = self._settings.poll_seconds
        if self._is_listening and work.state is LaneState.IDLE:
            seconds = max(seconds, min(_IDLE_POLLS * seconds, _MAX_IDLE_SECONDS))
        if work.lane is Lane.HISTORY:
            seconds = min(seconds, await self._seconds_to_next_retry())
        if work.is_held:
            seconds = min(seconds, _MAX_STALL_SECONDS)
        if not await arrives_within(work.wake.wait, seconds * (0.9 + 0.2 * random.random())):
            work.look_again()
        work.wake.clear()

    async def _seconds_to_next_retry(self) -> float:
        due = None  # while paused, none is begun
        if not self.progress.paused:
            if self._attempts.capacity(Lane.HISTORY) <= 0:
                return inf  # the end of an attempt wakes the lane
            due = None if self._next_retry is None else self._next_retry - now()
        if due is None and not self._attempts.in_flight():
            self._attempts.forget_trouble()
            await self._tell_trouble()
        return inf if due is None else max(due, 0.05)

    async def _listen(self) -> None:
        """Wake the loop at every commit of data. While nothing can be heard, the poll finds it.

        When the session that listens is lost, the loop recovers.
        """
        failures = 0
        while True:
            try:
                async with self._steps.listening(self.wake) as lost:
                    failures = 0
                    self._is_listening = True
                    self.wake()
                    await lost.wait()
                self._is_listening, self._is_cut_off = False, True
                self.wake()
            except TermLostError:
                raise
            except RevalueError as error:
                failures += 1
                # When the database is away, the loop meets it too, and reports it.
                is_transient = isinstance(error, TransientError)
                if failures == (2 if is_transient else 1) and self._transient is None:
                    _log.warning(
                        "cannot listen for changes; they are found by looking for them every "
                        f"{self._settings.poll_seconds:g} s, and listening is tried again",
                        trouble=str(error),
                        term=self._steps.term,
                    )
            await asyncio.sleep(self._settings.poll_seconds)

    async def _beat(self) -> None:
        """Send heartbeats, and wake the loop if it has to know what they were answered.

        Raises TermLostError once another scheduler leads.
        """
        seen: Control | None = None
        while True:
            try:
                asked = await self._steps.heartbeat()
            except TransientError:
                self.wake()  # the loop meets it too, and reports it
            else:
                if asked != seen:
                    seen = asked
                    self.wake()
            await asyncio.sleep(self._settings.lease_seconds / 4)
