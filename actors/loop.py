"""The scheduler's loop: fan out, retry, stage, start tasks, apply. It does not know Ray.

Each lane takes turns of its own, concurrently with the other lane, so that today's valuations do
not wait for a page of a mass correction. All state that has to last is in PostgreSQL; what is kept
in memory (tasks in flight, scan cursors) is restored by `recover` in the next scheduler. The
scheduler alone advances watermarks.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic

from revalue.actors.backoff import Backoff
from revalue.actors.concurrency import arrives_within, gather_all, raise_most_serious
from revalue.actors.in_flight import InFlightTasks
from revalue.actors.lanes import LaneWork
from revalue.actors.lock_watch import LeftBecause, LockWatch, Wait
from revalue.actors.progress import Progress
from revalue.actors.protocols import Pool
from revalue.engine import logs, metrics
from revalue.engine.apply import apply
from revalue.engine.core.lifecycle import Lane
from revalue.engine.errors import TransientError, WriteConflictError
from revalue.engine.fan_out import fan_out
from revalue.engine.leadership.term import Term
from revalue.engine.operate.status import queue_depth
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.blockers import Blocker
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from revalue.engine.stage.stage import PAGE_POSITIONS, live_lane_is_held, wait_for_calendars

_log = logs.logger("scheduler")

_RETRY_JOBS = 50_000
_UNAPPLIED = LeftBecause("rows of position_state are locked", "what was valued waits")
_MAX_HOLD_SECONDS = 0.5
_MAX_GIVE_WAY_SECONDS = 0.25
# Pages of history are small for this long after the live lane has staged something, so that they
# slow down its next steps less.
_SMALL_PAGES_SECONDS = 5


class SchedulerLoop:
    """One scheduler in one term. `run` ends when `stop` is called, or by raising TermLostError.

    A *turn* is one iteration of a lane: it takes each step of the protocol once.

    Attributes:
        progress: what it has done so far.
    """

    def __init__(
        self,
        database: Database,
        readers: Mapping[Lane, ArrowReader],
        pool: Pool,
        term: Term,
        settings: Settings,
    ) -> None:
        """Create a scheduler that does not run yet.

        Args:
            readers: one per lane, because both lanes read at the same time.
        """
        self._database = database
        self._term = term
        self._settings = settings
        self.progress = Progress(term=term.number)
        self._lanes = {
            lane: LaneWork(lane, readers[lane], term, settings, self.progress) for lane in Lane
        }
        self._in_flight = InFlightTasks(database, pool, term, settings, self.progress)
        self._locks = LockWatch(
            database,
            met=self._blockers,
            left=self._left,
            wake=self.wake,
            tell=self._tell_trouble,
        )
        self._unapplied: list[int] = []  # positions that recovery has left, because of locks
        self._transient: str | None = None  # what the loop tries again until it succeeds
        self._woken = asyncio.Event()
        self._stopping = self._is_halting = self._is_turning = False
        self._turned = asyncio.Condition()
        self._ended = False

    def wake(self) -> None:
        """Look for work now: the database may have changed. Call it from the loop's thread."""
        for work in self._lanes.values():
            work.look_again()
        self._woken.set()

    def stop(self) -> None:
        """Start no new task; `run` returns when those in flight have been applied.

        Those that wait for an actor are released: there may never be one.
        """
        self._stopping = True
        self._in_flight.decline()
        self.wake()

    async def run(self) -> None:
        """Recover what the previous scheduler left, then work until stopped.

        Transient errors are waited out. At the end the tasks in flight are applied, and those that
        were not started are released without counting an attempt.
        """
        backoff = Backoff()
        listener = asyncio.create_task(self._listen())
        beat = asyncio.create_task(self._beat())
        watch = asyncio.create_task(self._locks.run())
        try:
            while not self._is_over():
                try:
                    await self.recover()
                    await self._turn_lanes((beat, listener, watch), backoff)
                except TransientError as error:
                    if self._transient is None:
                        _log.warning(
                            "retrying until it succeeds",
                            trouble=str(error),
                            term=self._term.number,
                        )
                    self._transient = str(error)
                    for work in self._lanes.values():
                        work.reader.close()  # it may be broken too
                    await self._tell_trouble()
                    await backoff.pause()
        finally:
            for task in (listener, beat, watch):
                task.cancel()
            await asyncio.gather(
                listener, beat, watch, self._in_flight.cancel(), return_exceptions=True
            )
            self._ended = True
            async with self._turned:
                self._turned.notify_all()

    def _is_over(self) -> bool:
        return (
            self._stopping
            and not self._in_flight.tasks()
            and not any(work.queue for work in self._lanes.values())
        )

    async def _turn_lanes(self, beside: "Sequence[asyncio.Task[None]]", backoff: Backoff) -> None:
        """Take the turns of both lanes until the scheduler has been stopped.

        If one lane raises, or what runs beside them (the term is lost, for example), the other lane
        ends its turn first, so that it is never interrupted in the middle of a transaction.
        """
        self._is_halting, self._is_turning = False, True
        turning = {
            asyncio.create_task(self._keep_turning(work, backoff)) for work in self._lanes.values()
        }
        left = {*turning, *beside}
        try:
            while left & turning:
                ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                if ended - turning or any(each.exception() for each in ended):
                    self._is_halting = True
                    for work in self._lanes.values():
                        work.wake.set()
        finally:
            for each in turning:
                each.cancel()  # no effect on those that have ended
            await asyncio.gather(*turning, return_exceptions=True)
            self._is_turning = False
        raise_most_serious([each.exception() for each in ({*beside} - left) | turning])

    async def _keep_turning(self, work: LaneWork, backoff: Backoff) -> None:
        """Take turns until the scheduler is stopped and nothing of the lane is in flight."""
        while not self._is_over() and not self._is_halting:
            worked = await self._turn(work)
            if not self._in_flight.is_setback or self.progress.idle:
                self._in_flight.is_setback, self._transient = False, None
                await self._tell_trouble()
                backoff.reset()
            if not worked:
                await self._sleep(work)
        for other in self._lanes.values():  # they may wait for what was in flight here
            other.wake.set()

    async def recover(self) -> None:
        """Apply results that nobody has applied; release the attempts that nobody waits for."""
        known = self._in_flight.tasks()
        for work in self._lanes.values():
            known += work.queue
            work.forget_scan()
        try:
            self._unapplied = await apply.recover(
                self._term, known, leave_locked=bool(self._unapplied)
            )
        except WriteConflictError as error:
            if not error.is_lock_timeout:
                raise
            self._unapplied = await apply.recover(self._term, known, leave_locked=True)

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
        work.turns_begun += 1
        worked = await self._take_steps(work)
        is_locked = work.has_left or bool(work.held_up) or bool(self._unapplied)
        is_waiting = work.is_held or ((is_locked or bool(work.queue)) and not self.progress.paused)
        work.is_idle = not worked and not self._in_flight.count(work.lane) and not is_waiting
        work.turns_ended = work.turns_begun
        self.progress.in_flight = len(self._in_flight.tasks())
        self.progress.idle = all(each.is_idle for each in self._lanes.values())
        async with self._turned:
            self._turned.notify_all()
        return worked

    async def _take_steps(self, work: LaneWork) -> bool:
        control = await self._term.control()
        if control.drain and not self._stopping:
            _log.info("draining, as an operator has asked", term=self._term.number)
            self.stop()
        self.progress.paused = control.paused
        work.is_held = False
        if self._stopping:
            await self._in_flight.hand_back(work)
        if self._stopping or control.paused:
            applied = await self._apply(work)
            if self._stopping and (self._locks.holds_up("apply") or "apply" in work.held_up):
                self._in_flight.leave_ended(work.lane)
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
            lambda: self._in_flight.apply_ended(
                work.lane, leave_locked=self._locks.holds_up("apply")
            ),
        )
        if work.lane is Lane.HISTORY and self._unapplied and not self._locks.is_told(_UNAPPLIED):
            recovered = await self._take_unless_held_up(work, "recover", self._apply_left)
            return applied or recovered
        return applied

    async def _apply_left(self) -> bool:
        """Apply what recovery has left, as far as it is no longer locked."""
        before = len(self._unapplied)
        self._unapplied = await apply.apply_left(self._term, self._unapplied)
        return len(self._unapplied) < before

    def _blockers(self) -> list[Blocker]:
        """Return who holds the locks for which steps wait at present."""
        of_reads = [each for work in self._lanes.values() for each in work.reader.blockers()]
        return [*self._database.blockers(), *of_reads]

    def _left(self) -> dict[LeftBecause, Wait]:
        """Return what is left at present because of locks, and statements that wait for them."""
        calendars = {
            calendar for work in self._lanes.values() for calendar in work.locked_calendars
        }
        left: dict[LeftBecause, Wait] = {
            LeftBecause(f"calendar {calendar} is locked", "its positions wait"): partial(
                wait_for_calendars, calendars=[calendar]
            )
            for calendar in sorted(calendars)
        }
        if self._unapplied:
            left[_UNAPPLIED] = partial(apply.wait_for_positions, positions=self._unapplied)
        return left

    async def _create_jobs(self, work: LaneWork) -> bool:
        """Take the steps that create jobs, and start their tasks."""
        invalidated = retried = staged = False
        work.is_held = work.lane is Lane.LIVE and await self._is_live_held(work)
        if work.lane is Lane.HISTORY:
            await self._give_way()
            if not self._locks.holds_up("fan out"):
                invalidated = await self._take_unless_held_up(
                    work, "fan out", lambda: self._fan_out(work)
                )
            if not self._locks.holds_up("retry"):
                retried = await self._take_unless_held_up(work, "retry", lambda: self._retry(work))
        if not work.is_held:
            staged = await self._take_unless_held_up(work, "stage", lambda: self._stage(work))
        started = await self._in_flight.start(
            work, is_stopping=lambda: self._stopping, ended=lambda: self._attempt_ended(work)
        )
        return invalidated or retried or staged or started

    async def _stage(self, work: LaneWork) -> bool:
        staged, jobs = await work.stage(
            self._in_flight.capacity(work), leave_locked=self._locks.holds_up("stage")
        )
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

        async with self._turned:
            await self._turned.wait_for(lambda: turned() or self._ended or self.progress.trouble)
        if self._ended or self.progress.trouble:
            return False
        depth = {} if self.progress.paused else await queue_depth(self._database)
        is_between_turns = all(work.turns_begun == work.turns_ended for work in lanes)
        return self.progress.idle and is_between_turns and not any(depth.values())

    async def _give_way(self) -> None:
        """Let the live lane finish its turn before a page of history, which would slow it down."""
        live = self._lanes[Lane.LIVE]
        async with self._turned:
            until = monotonic() + _MAX_GIVE_WAY_SECONDS
            while self._is_turning and not live.is_idle and not live.is_held:
                if not await arrives_within(self._turned.wait, until - monotonic()):
                    return

    async def _is_live_held(self, live: LaneWork) -> bool:
        """Whether staging of the live lane waits for queued triggers to be fanned out.

        It waits for a short time only: a mass correction can take long, and staging some positions
        twice costs less than waiting for it.
        """
        if not await live_lane_is_held(
            self._database, live_business_days=self._settings.live_business_days
        ):
            live.held_since = None
            return False
        live.held_since = live.held_since or monotonic()
        return monotonic() - live.held_since < _MAX_HOLD_SECONDS

    async def _fan_out(self, work: LaneWork) -> bool:
        task_rows = self._settings.task_rows
        capacity = fan_out.Capacity(
            work.reader, self._in_flight.capacity(work) * task_rows, task_rows
        )
        is_live_at_work = monotonic() - self._lanes[Lane.LIVE].staged_at < _SMALL_PAGES_SECONDS
        max_positions = PAGE_POSITIONS // 4 if is_live_at_work else PAGE_POSITIONS
        with self.progress.timed("fan out"):
            step = await fan_out.fan_out(self._term, max_positions=max_positions, capacity=capacity)
        if step is None:
            return False
        self._lanes[Lane.LIVE].wake.set()  # it may be held until these triggers are fanned out
        self.progress.positions_invalidated += step.positions_invalidated
        work.queue.extend(step.tasks)
        self._count_created(work.lane, step.jobs)
        if step.positions_invalidated > step.positions_staged:
            work.forget_scan()
        _log.info(
            "fanned out",
            trigger=logs.ranges((trigger, trigger) for trigger in step.trigger_ids),
            positions_invalidated=step.positions_invalidated,
            term=self._term.number,
        )
        metrics.POSITIONS_INVALIDATED.inc(step.positions_invalidated)
        metrics.JOBS_FINISHED.labels(status="SUPERSEDED").inc(step.jobs_superseded)
        return True

    async def _retry(self, work: LaneWork) -> bool:
        """Create tasks for deferred jobs of both lanes that are due again."""
        capacity = self._in_flight.capacity(work)
        if capacity <= 0:
            return False
        tasks = await apply.retry_due(
            self._term, max_jobs=_RETRY_JOBS, task_rows=self._settings.task_rows, capacity=capacity
        )
        for task in tasks:
            self._lanes[task.lane].queue.append(task)
            self._lanes[task.lane].wake.set()
        return bool(tasks)

    def _attempt_ended(self, work: LaneWork) -> None:
        work.wake.set()
        self._woken.set()

    def _count_created(self, lane: Lane, jobs: int) -> None:
        self.progress.jobs_created += jobs
        metrics.JOBS_CREATED.labels(lane=lane.value).inc(jobs)

    async def _tell_trouble(self) -> None:
        trouble = self._transient or self._locks.trouble
        if trouble != self.progress.trouble:
            self.progress.trouble = trouble
            async with self._turned:
                self._turned.notify_all()

    async def _sleep(self, work: LaneWork) -> None:
        """Wait for a commit, a result, the next retry that is due, or the poll interval."""
        seconds = self._settings.poll_seconds
        if (
            work.lane is Lane.HISTORY
            and not self._in_flight.count(work.lane)
            and not self.progress.paused
        ):
            due = await apply.seconds_to_next_retry(self._database)
            seconds = min(seconds, max(due, 0.05)) if due is not None else seconds
        if work.is_held:
            seconds = min(seconds, _MAX_HOLD_SECONDS)
        if not await arrives_within(work.wake.wait, seconds * (0.9 + 0.2 * random.random())):
            work.look_again()
        work.wake.clear()

    async def _listen(self) -> None:
        """Wake the loop at every NOTIFY. While the connection is lost, the poll finds work."""
        while True:
            try:
                async with self._database.listening("revalue_wake", self.wake) as lost:
                    self.wake()
                    await lost.wait()
            except TransientError:
                pass  # the loop meets it too, and reports it
            await asyncio.sleep(self._settings.poll_seconds)

    async def _beat(self) -> None:
        """Send heartbeats. Raises TermLostError once another scheduler leads."""
        while True:
            with suppress(TransientError):  # the loop meets it too, and reports it
                await self._term.heartbeat()
            await asyncio.sleep(self._settings.lease_seconds / 4)
