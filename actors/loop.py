"""The scheduler's loop: fan out -> retry -> stage -> dispatch -> apply. It knows no Ray: a pool is handed to it.

All of its state is in PostgreSQL; what it keeps in memory (tasks in flight, scan cursors) is found again by
`recover` when another one begins. It alone advances watermarks.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from actors.backoff import Backoff
from actors.ports import Pool, TaskLostError
from engine import logs, metrics
from engine.core.lifecycle import JobStatus, Lane
from engine.errors import TransientError
from engine.settings import Settings
from engine.store import results, staging, triggers
from engine.store.arrow import ArrowReader
from engine.store.database import Database
from engine.store.statement import sql
from engine.store.tasks import Task, TaskResult
from engine.store.terms import Term
from engine.store.unfinished import tell_unfinished

_log = logs.logger("scheduler")

_PAGE_KEYS = 20_000
_RETRY_JOBS = 50_000
_UNFINISHED = {JobStatus.WAITING_FOR_DATA, JobStatus.FAILED}


@dataclass
class Progress:
    """What this scheduler has done since it began."""

    term: int
    rows_written: int = 0
    jobs_created: int = 0
    jobs_finished: int = 0
    jobs_fenced: int = 0
    tasks_finished: int = 0
    tasks_lost: int = 0
    keys_raised: int = 0
    in_flight: int = 0
    idle: bool = False
    paused: bool = False
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    trouble: str | None = None


class SchedulerLoop:
    """One scheduler in one term. `run` ends when `stop` is called, or by raising TermLostError."""

    def __init__(self, database: Database, reader: ArrowReader, pool: Pool, term: Term, settings: Settings) -> None:
        self._database = database
        self._reader = reader
        self._pool = pool
        self._term = term
        self._settings = settings
        self._waits = results.Waits(settings.retry_seconds, settings.recheck_seconds)
        self._queues: dict[Lane, deque[Task]] = {Lane.LIVE: deque(), Lane.HISTORY: deque()}
        self._in_flight: dict[asyncio.Task[TaskResult], tuple[Task, float]] = {}
        self._cursors = {Lane.LIVE: 0, Lane.HISTORY: 0}
        self._scanned: dict[Lane, staging.Scan | None] = {Lane.LIVE: None, Lane.HISTORY: None}
        self._unscanned = dict.fromkeys(Lane, True)  # keys may owe something that no pass over all of them has found
        self._wake = asyncio.Event()
        self._stopping = False
        self._next_start = 0.0
        self._setback = False  # a task could not write, and none has since: what stands in its way may stand still
        self._turns_begun = self._turns_ended = 0
        self._turned = asyncio.Condition()
        self._ended = False
        self.progress = Progress(term=term.number)
        metrics.TASKS_IN_FLIGHT.set_function(lambda: len(self._in_flight))
        metrics.OLDEST_IN_FLIGHT.set_function(self._oldest_in_flight)

    def wake(self) -> None:
        """Something may have changed in the database: look now. Safe to call at any time from the loop's thread."""
        self._unscanned = dict.fromkeys(Lane, True)
        self._wake.set()

    def stop(self) -> None:
        """Starts no new task; `run` returns when those in flight are applied."""
        self._stopping = True
        self.wake()

    async def run(self) -> None:
        """Recovers what the scheduler before left, then works until stopped. Transient trouble is waited out.

        At the end the tasks in flight are applied, and those that were not yet begun are free again, uncharged.
        """
        backoff = Backoff()
        recovered = False
        listener = asyncio.create_task(self._listen())
        beat = asyncio.create_task(self._beat())
        try:
            while not (self._stopping and not self._in_flight and not any(self._queues.values())):
                try:
                    if not recovered:
                        await self.recover()
                        recovered = True
                    worked = await self.run_once()
                    if not self._setback or self.progress.idle:
                        self._setback, self.progress.trouble = False, None
                        backoff.reset()
                    if beat.done():
                        beat.result()
                    if not worked:
                        await self._sleep()
                except TransientError as error:
                    if self.progress.trouble is None:
                        _log.warning("trying again until it succeeds", trouble=str(error), term=self._term.number)
                    self.progress.trouble = str(error)
                    recovered = False
                    async with self._turned:
                        self._turned.notify_all()
                    await backoff.pause()
        finally:
            for task in (listener, beat, *self._in_flight):
                task.cancel()
            await asyncio.gather(listener, beat, *self._in_flight, return_exceptions=True)
            self._ended = True
            async with self._turned:
                self._turned.notify_all()

    async def _hand_back(self) -> None:
        for queue in self._queues.values():
            while queue:
                await results.release(self._term, queue[0], self._waits, reason="released: the scheduler was stopped")
                queue.popleft()

    async def recover(self) -> None:
        """Takes over what the scheduler before left: applies unapplied results, frees the attempts that nobody waits for."""
        known = [task for task, _ in self._in_flight.values()]
        self._forget_scans()
        await results.recover(self._term, [*known, *self._queues[Lane.LIVE], *self._queues[Lane.HISTORY]])

    async def woken(self) -> None:
        """Returns when something may have changed since the last call: a commit, a finished task."""
        await self._wake.wait()
        self._wake.clear()

    async def run_once(self) -> bool:
        """One turn of the loop; returns whether it did anything. Raises TermLostError, TransientError."""
        self._turns_begun += 1
        worked = await self._turn()
        self._turns_ended = self._turns_begun
        async with self._turned:
            self._turned.notify_all()
        return worked

    async def _turn(self) -> bool:
        applied = await self._apply_finished()
        asked = await self._term.control()
        if asked.drain and not self._stopping:
            _log.info("draining: asked by an operator", term=self._term.number)
            self._stopping = True
        self.progress.paused = asked.paused
        if self._stopping:
            await self._hand_back()
        if self._stopping or asked.paused:
            self.progress.in_flight = len(self._in_flight)
            self.progress.idle = not applied and not self._in_flight
            return applied
        raised = await self._fan_out()
        created = await self._fill_queues()
        started = await self._dispatch()
        self.progress.in_flight = len(self._in_flight)
        worked = applied or raised or created or started
        self.progress.idle = not worked and not self._in_flight and not any(self._queues.values())
        return worked

    async def is_quiet(self) -> bool:
        """Whether nothing is left that this scheduler could do now: what remains waits for data or has failed, or it is
        paused.

        True only after a whole turn that began after the call, so it includes everything committed before the call.
        While there is trouble no turn is whole, and the answer is no at once: who asks is not kept waiting for a database.
        """
        if not self.progress.idle:
            return False
        asked = self._turns_begun
        self.wake()
        async with self._turned:
            await self._turned.wait_for(lambda: self._turns_ended > asked or self._ended or self.progress.trouble)
        if self._ended or self.progress.trouble:
            return False
        depth = {} if self.progress.paused else await self._depth()
        return self.progress.idle and self._turns_begun == self._turns_ended and not any(depth.values())

    async def _fan_out(self) -> bool:
        room = triggers.Room(self._reader, self._room(Lane.HISTORY) * self._settings.task_rows, self._settings.task_rows)
        step = await triggers.fan_out(self._term, most_keys=_PAGE_KEYS, room=room)
        if step is None:
            return False
        self.progress.keys_raised += step.keys_raised
        self._forget_scans()
        self._queues[Lane.HISTORY].extend(step.tasks)
        self._created(Lane.HISTORY, step.jobs)
        taken = logs.ranges((trigger, trigger) for trigger in step.trigger_ids)
        _log.info("fanned out", trigger=taken, keys_raised=step.keys_raised, term=self._term.number)
        metrics.KEYS_RAISED.inc(step.keys_raised)
        metrics.JOBS_FINISHED.labels(status="SUPERSEDED").inc(step.jobs_superseded)
        return True

    def _forget_scans(self) -> None:
        """What was scanned before is dropped: a date that was put into a calendar since might lie just outside its ranges."""
        self._unscanned = dict.fromkeys(Lane, True)
        self._cursors = {Lane.LIVE: 0, Lane.HISTORY: 0}
        self._scanned = {Lane.LIVE: None, Lane.HISTORY: None}

    async def _fill_queues(self) -> bool:
        """Creates jobs only for the room there is: the live lane first, then what is due again, then history."""
        created = await self._stage(Lane.LIVE)
        room = self._room(Lane.HISTORY)
        if room > 0:
            retried = await results.retry_due(self._term, most=_RETRY_JOBS, task_rows=self._settings.task_rows, room=room)
            for task in retried:
                self._queues[task.lane].append(task)
            created = bool(retried) or created
        return await self._stage(Lane.HISTORY) or created

    async def _stage(self, lane: Lane) -> bool:
        room = self._room(lane)
        if room <= 0:
            return False
        if self._scanned[lane] is None and self._cursors[lane] == 0:
            if not self._unscanned[lane]:
                return False
            self._unscanned[lane] = False
        scanned = self._scanned[lane] or await self._scan(lane)
        self._scanned[lane] = None
        if scanned.keys.is_empty():
            # The end of a pass that did not begin at the first key: what came up behind the cursor is looked for now.
            begun_behind, self._cursors[lane] = self._cursors[lane] > 0, 0
            return begun_behind
        self._unscanned[lane] = True  # until a pass finds nothing: a key that was left alone is looked at again
        staged = await staging.stage(
            self._term, scanned, lane, task_rows=self._settings.task_rows, room_rows=room * self._settings.task_rows
        )
        self._scanned[lane] = staged.rest
        if staged.rest is None:
            self._cursors[lane] = scanned.next_cursor or 0
        self._queues[lane].extend(staged.tasks)
        self._created(lane, staged.jobs)
        return True

    def _created(self, lane: Lane, jobs: int) -> None:
        self.progress.jobs_created += jobs
        metrics.JOBS_CREATED.labels(lane=lane.value).inc(jobs)

    async def _scan(self, lane: Lane) -> staging.Scan:
        scanned = await asyncio.to_thread(
            staging.scan,
            self._reader,
            lane,
            self._cursors[lane],
            page_keys=_PAGE_KEYS,
            live_sessions=self._settings.live_sessions,
        )
        metrics.observe_gaps(scanned.ranges["rows"])
        return scanned

    def _room(self, lane: Lane) -> int:
        """Tasks of this lane that may still be created. History leaves a place free, so the live lane never waits."""
        ahead = len(self._in_flight) + sum(len(queue) for queue in self._queues.values())
        reserved = max(1, self._pool.capacity // 4) if lane is Lane.HISTORY and self._pool.capacity > 1 else 0
        return self._pool.capacity - reserved - ahead + (1 if lane is Lane.HISTORY else 0)

    async def _dispatch(self) -> bool:
        """Starts queued tasks, live ones first, staggered: no faster than the configured rate."""
        started = False
        while len(self._in_flight) < self._pool.capacity and any(self._queues.values()):
            wait = self._next_start - monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if self._stopping:
                break
            queue = self._queues[Lane.LIVE] or self._queues[Lane.HISTORY]
            task = queue.popleft()
            attempt = asyncio.create_task(self._pool.run(task))
            attempt.add_done_callback(lambda _: self._wake.set())
            self._in_flight[attempt] = (task, monotonic())
            self._next_start = monotonic() + (0.5 + random.random()) / self._settings.task_starts_per_second
            started = True
        return started

    async def _apply_finished(self) -> bool:
        finished = [attempt for attempt in self._in_flight if attempt.done()]
        if not finished:
            return False
        done: list[asyncio.Task[TaskResult]] = []
        setback: TransientError | None = None
        for attempt in finished:
            failure = attempt.exception()
            if failure is None:
                done.append(attempt)
            elif isinstance(failure, TransientError):
                await self._give_up(attempt, failure)
                if not isinstance(failure, TaskLostError):
                    setback = failure
            else:
                raise failure
        if done:
            await results.apply(self._term, [self._in_flight[attempt][0] for attempt in done], self._waits)
            unfinished = [self._in_flight[attempt][0] for attempt in done if attempt.result().statuses.keys() & _UNFINISHED]
            await tell_unfinished(self._database, unfinished)
        for attempt in done:
            _, begun = self._in_flight.pop(attempt)
            self._count(attempt.result(), monotonic() - begun)
        self.progress.in_flight = len(self._in_flight)
        if setback is not None:
            self._setback = True
            raise setback
        return True

    async def _give_up(self, attempt: "asyncio.Task[TaskResult]", failure: TransientError) -> None:
        task, _ = self._in_flight[attempt]
        reason = f"{type(failure).__name__}: {failure}"[:500]
        worker = failure.worker if isinstance(failure, TaskLostError) else None
        await results.release(self._term, task, self._waits, reason=reason, worker=worker)
        del self._in_flight[attempt]
        if isinstance(failure, TaskLostError):
            jobs = logs.ranges([(task.first_job_id, task.last_job_id)])
            _log.warning(
                "task given up, its jobs are free again", task=task.task_id, job=jobs, rows=task.rows, reason=str(failure)
            )
            self.progress.tasks_lost += 1
            metrics.TASKS_LOST.inc()

    def _count(self, result: TaskResult, seconds: float) -> None:
        progress = self.progress
        self._setback = False
        progress.tasks_finished += 1
        progress.jobs_finished += result.jobs
        progress.rows_written += result.rows
        progress.jobs_fenced += result.fenced
        _add(progress.statuses, result.statuses)
        _add(progress.reasons, result.reasons)
        for phase, spent in result.seconds.items():
            progress.seconds[phase] = progress.seconds.get(phase, 0.0) + spent
        metrics.observe_task(result, seconds)

    def _oldest_in_flight(self) -> float:
        """Seconds. Asked by the metrics server's thread: it looks at a copy."""
        return max((monotonic() - begun for _, begun in list(self._in_flight.values())), default=0.0)

    async def _depth(self) -> dict[str, int]:
        async with self._database.connection() as connection:
            row = await sql("queue_depth").row(connection)
        assert row is not None
        return dict(row)

    async def _sleep(self) -> None:
        """Until woken (a commit, a result), until the next retry is due, or for the poll's time."""
        seconds = self._settings.poll_seconds
        if not self._in_flight and not self.progress.paused:
            async with self._database.connection() as connection:
                due = await sql("next_retry").value(connection)
            seconds = min(seconds, max(due, 0.05)) if due is not None else seconds
        if not await _wait(self._wake.wait, seconds * (0.9 + 0.2 * random.random())):
            self._unscanned = dict.fromkeys(Lane, True)
        self._wake.clear()

    async def _listen(self) -> None:
        """Wakes the loop at every NOTIFY. Losing the connection loses only speed: the poll is the safety net."""
        while True:
            try:
                async with self._database.listening("revalue_wake", self.wake) as lost:
                    self.wake()
                    await lost.wait()
            except TransientError:
                pass
            await asyncio.sleep(self._settings.poll_seconds)

    async def _beat(self) -> None:
        """Tells the database that this scheduler is alive. Raises TermLostError when its term is over."""
        while True:
            with suppress(TransientError):  # the loop meets it too, and says so
                await self._term.heartbeat()
            await asyncio.sleep(self._settings.lease_seconds / 4)


async def _wait(what: Callable[[], Awaitable[object]], seconds: float) -> bool:
    """Whether it came before the time was over."""
    try:
        await asyncio.wait_for(what(), seconds)
    except TimeoutError:
        return False
    return True


def _add(total: dict[str, int], part: dict[str, int]) -> None:
    for name, count in part.items():
        total[name] = total.get(name, 0) + count
