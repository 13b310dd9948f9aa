"""The scheduler's loop: whose turn it is, and when. It knows neither SQL nor Ray.

Each lane takes turns of its own, concurrently with the other lane, so that today's valuations do
not wait for a page of a mass correction. All state that has to last is in PostgreSQL; what is kept
in memory (attempts, scan cursors) is restored by `recover` in the next scheduler. The scheduler
alone advances watermarks.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from enum import StrEnum
from math import inf

from revalue.actors.attempts import Attempts
from revalue.actors.backoff import Backoff, require_within
from revalue.actors.concurrency import arrives_within, gather_all, now, raise_most_serious
from revalue.actors.database_watch import DatabaseWatch
from revalue.actors.lane_steps import MAX_STALL_SECONDS, LaneSteps
from revalue.actors.lanes import LaneState, LaneWork
from revalue.actors.progress import Progress
from revalue.actors.protocols import Pool, Steps
from revalue.engine import logs
from revalue.engine.core.lifecycle import Lane
from revalue.engine.errors import OutageError, TransientError
from revalue.engine.settings import Settings

_log = logs.logger("scheduler")

# While it is notified of every commit, an idle lane polls this many times less often.
_IDLE_POLLS = 12
_MAX_IDLE_SECONDS = 60.0
_MAX_GIVE_WAY_SECONDS = 0.25


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
        self._lane_steps = LaneSteps(
            steps,
            self._attempts,
            self._lanes,
            self.progress,
            wake=self.wake,
            tell=self._tell_trouble,
        )
        self._watch = DatabaseWatch(
            steps, settings, wake=self.wake, is_away=lambda: self._transient is not None
        )
        self._transient_since = 0.0
        self._transient: str | None = None  # what the loop tries again until it succeeds
        self._failing: set[Lane] = set()  # whose last turn has met it
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
            asyncio.create_task(work())
            for work in (self._watch.beat, self._watch.listen, self._lane_steps.locks.run)
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
                self._watch.require_not_cut_off()
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
        self._watch.recovering()
        for work in self._lanes.values():
            work.forget_passes()
        await self._lane_steps.recover()

    async def woken(self) -> None:
        """Wait until something may have changed since the last call: a commit, a finished task."""
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
            is_locked=bool(self._lane_steps.unapplied),
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
            applied = await self._lane_steps.apply(work)
            if self.is_stopping and self._lane_steps.is_apply_held_up(work):
                self._attempts.leave_behind(work.lane)
            return applied
        # Concurrently: the two long steps of a mass correction do not wait for each other.
        applied, created = await gather_all(self._lane_steps.apply(work), self._create_jobs(work))
        return applied or created

    async def _create_jobs(self, work: LaneWork) -> bool:
        if work.lane is Lane.HISTORY:
            await self._give_way()
        return await self._lane_steps.create_jobs(work)

    async def _give_way(self) -> None:
        """Let the live lane finish its turn before a page of history, which would slow that turn
        down."""
        live = self._lanes[Lane.LIVE]
        async with self._turned:
            until = now() + _MAX_GIVE_WAY_SECONDS
            while self.phase is Phase.TURNING and live.state in (
                LaneState.WORKING,
                LaneState.LOCKED,
            ):
                if not await arrives_within(self._turned.wait, until - now()):
                    return

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
        """Wait until something is done or has changed, for at most `seconds`.

        Unlike `is_quiet`, this does not disturb an idle scheduler.
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

    def _attempt_ended(self, lane: Lane) -> None:
        self._lanes[lane].wake.set()
        self._woken.set()

    async def _tell_trouble(self) -> None:
        trouble = self._transient or self._attempts.trouble or self._lane_steps.locks.trouble
        if trouble != self.progress.trouble:
            self.progress.trouble = trouble
            async with self._turned:
                self._turned.notify_all()

    async def _sleep(self, work: LaneWork) -> None:
        """Wait for a commit, a result, the next retry that is due, or the poll interval."""
        seconds = self._settings.poll_seconds
        if self._watch.is_listening and work.state is LaneState.IDLE:
            seconds = max(seconds, min(_IDLE_POLLS * seconds, _MAX_IDLE_SECONDS))
        if work.lane is Lane.HISTORY:
            seconds = min(seconds, await self._seconds_to_next_retry())
        if work.is_held:
            seconds = min(seconds, MAX_STALL_SECONDS)
        if not await arrives_within(work.wake.wait, seconds * (0.9 + 0.2 * random.random())):
            work.look_again()
        work.wake.clear()

    async def _seconds_to_next_retry(self) -> float:
        due = None  # while paused, none is begun
        if not self.progress.paused:
            if self._attempts.capacity(Lane.HISTORY) <= 0:
                return inf  # the end of an attempt wakes the lane
            due = (
                None if self._lane_steps.next_retry is None else self._lane_steps.next_retry - now()
            )
        if due is None and not self._attempts.in_flight():
            self._attempts.forget_trouble()
            await self._tell_trouble()
        return inf if due is None else max(due, 0.05)
