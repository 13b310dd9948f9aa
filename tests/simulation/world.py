"""The simulated surroundings of a scheduler: network, database sessions, actors, users, faults.

Everything that is random comes from one generator, and so from one seed.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from revalue.actors.concurrency import now
from revalue.actors.loop import SchedulerLoop
from revalue.actors.pool import ActorPool
from revalue.actors.protocols import WorkerDiedError
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import DatabaseUnavailableError, TermLostError, WriteConflictError
from revalue.engine.fan_out.fan_out import FannedOut
from revalue.engine.leadership.term import Control
from revalue.engine.postgres.blockers import Blocker
from revalue.engine.settings import Settings
from revalue.engine.stage.outlook import Outlook
from revalue.engine.stage.scan import Among, Scan
from revalue.engine.stage.stage import Staged, StagedNewest
from tests.simulation.store import Page, Store, Violation

_T = TypeVar("_T")

_OTHER = Blocker(1, "somebody", "psql", "1/1", None, "position_state")

SETTINGS = Settings(
    task_starts_per_second=50, task_deadline_seconds=30, lock_seconds=3, lease_seconds=10
)


@dataclass
class Faults:
    """How likely each fault is, per step of the scheduler or per attempt of an actor.

    Attributes:
        away: the database cannot be reached; nothing is done.
        lost: a step is committed and its answer is lost.
        transient: an attempt cannot write.
        dies: an actor's process ends, before, in or after its commit.
        stalls: an actor takes long, and may commit after the deadline, or does not go on at all.
        cannot_start: a started actor's process ends at once.
    """

    away: float = 0.0
    lost: float = 0.0
    transient: float = 0.0
    dies: float = 0.0
    stalls: float = 0.0
    cannot_start: float = 0.0


@dataclass
class World:
    """What all processes of one history share.

    Attributes:
        sick: names of actors that cannot reach the database.
        starts_failed: how many actors could not start.
        task_seconds: how long every task takes; None: different for each, 50 ms on average.
        steps: a record of what happened, for whoever looks into a violation.
        ended_at: when each task's answer was sent.
    """

    seed: int
    store: Store
    faults: Faults = field(default_factory=Faults)
    settings: Settings = SETTINGS
    sick: set[str] = field(default_factory=set)
    machine_is_sick: bool = False
    starts_failed: int = 0
    task_seconds: float | None = None
    steps: list[str] = field(default_factory=list)
    ended_at: dict[int, float] = field(default_factory=dict)
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        random.seed(self.seed)  # the jitter of the product

    def note(self, what: str) -> None:
        self.steps.append(f"{now():.3f} {what}")

    def happens(self, likelihood: float) -> bool:
        return self.random.random() < likelihood

    async def delay(self) -> None:
        """A message's way through the network: mostly a millisecond, now and then much longer."""
        seconds = self.random.expovariate(1_000)
        if self.happens(0.02):
            seconds *= 200
        await asyncio.sleep(seconds)

    def notify(self) -> None:
        """Tell the listeners; the network loses some of it."""
        for hear in self.listeners:
            if not self.happens(0.1):
                hear()


class SimulatedSteps:
    """A scheduler's steps on the store. See actors.protocols.Steps."""

    def __init__(self, world: World, term: int) -> None:
        self._world = world
        self._store = world.store
        self.term = term
        self._waiting = 0

    async def _take(self, name: str, step: Callable[[], _T]) -> _T:
        world = self._world
        await world.delay()
        if world.happens(world.faults.away):
            await asyncio.sleep(world.random.uniform(0, 3))
            world.note(f"term {self.term}: {name}: away")
            raise DatabaseUnavailableError(f"{name}: the database is away")
        result = step()
        world.note(f"term {self.term}: {name}: {result}")
        await world.delay()
        if world.happens(world.faults.lost):
            world.note(f"term {self.term}: {name}: its answer is lost")
            raise DatabaseUnavailableError(f"{name}: the answer is lost")
        return result

    async def _unlocked(self, positions: Callable[[], set[int]]) -> None:
        """Wait until none of the positions is locked, for as long as a step waits for locks."""
        end = now() + self._world.settings.lock_seconds
        self._waiting += 1
        try:
            while positions() & self._store.locked:
                if now() > end:
                    raise WriteConflictError("a position is locked", is_lock_timeout=True)
                await asyncio.sleep(0.1)
        finally:
            self._waiting -= 1

    async def control(self) -> Control:
        return await self._take("control", lambda: self._store.control(self.term))

    async def outlook(self) -> Outlook:
        return await self._take("look", lambda: self._store.outlook(now()))

    async def heartbeat(self) -> Control:
        return await self._take("heartbeat", lambda: self._store.control(self.term))

    @asynccontextmanager
    async def listening(self, hear: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
        await self._take("listen", lambda: None)
        lost = asyncio.Event()
        self._world.listeners.append(hear)
        # Seldom: each cut makes the scheduler recover, which would hide what it had forgotten.
        seconds = self._world.random.uniform(1, 30) * self._world.random.choice([1, 100])

        def end() -> None:
            self._world.note(f"term {self.term}: the session that listens is lost")
            lost.set()

        cut = asyncio.get_running_loop().call_later(seconds, end)
        try:
            yield lost
        finally:
            cut.cancel()
            self._world.listeners.remove(hear)

    async def recover(self, known: Sequence[Task], *, leave_locked: bool) -> list[int]:
        left: set[int] = set()
        if leave_locked:
            left = self._store.unapplied() & self._store.locked
        else:
            await self._unlocked(self._store.unapplied)
        numbers = {task.task_id for task in known}
        await self._take("recover", lambda: self._store.recover(self.term, numbers, left, now()))
        return sorted(left)

    async def apply_left(self) -> list[int]:
        left = self._store.unapplied() & self._store.locked
        await self._take("apply left", lambda: self._store.apply_left(self.term, left))
        return sorted(left)

    async def fan_out(self, *, max_positions: int, capacity: int) -> FannedOut | None:
        if self._store.triggers:
            await self._unlocked(lambda: set(self._store.positions))
        return await self._take(
            "fan out",
            lambda: self._store.fan_out(
                self.term, max_positions=min(max_positions, 4), capacity=capacity
            ),
        )

    async def is_live_held(self) -> bool:
        return await self._take("is live held", self._store.is_live_held)

    async def retry_due(self, *, max_jobs: int, capacity: int) -> list[Task]:
        return await self._take(
            "retry", lambda: self._store.retry_due(self.term, capacity=capacity, time=now())
        )

    async def scan(
        self, lane: Lane, cursor: int, *, page_positions: int, among: Among = Among.ALL
    ) -> Scan:
        return await self._take(  # type: ignore[return-value]
            f"scan {among} {lane}",
            lambda: self._store.scan(lane, cursor, page_positions=4, among=among),
        )

    async def forget_staged(self) -> None:
        await self._take("forget staged", lambda: self._store.forget_staged(self.term))

    async def stage(self, scan: Scan, lane: Lane, *, capacity: int, leave_locked: bool) -> Staged:
        page: Page = scan  # type: ignore[assignment]
        locked: set[int] = set()
        if leave_locked:
            locked = set(self._store.locked)
        else:
            await self._unlocked(lambda: {due.position for due in page.found})
        return await self._take(
            f"stage {lane}",
            lambda: self._store.stage(self.term, page, lane, capacity=capacity, left=locked),
        )

    async def stage_newest(
        self, cursor: int, *, page_positions: int, capacity: int
    ) -> StagedNewest:
        """Scan and stage in one step, but some positions are left for the scan."""

        def scanned() -> Page:
            page = self._store.scan(Lane.LIVE, cursor, page_positions=4, among=Among.ALL)
            return Page(page.found[: capacity * self._store.job_spans], page.next_cursor)

        await self._unlocked(lambda: {due.position for due in scanned().found})

        def stage_newest() -> StagedNewest:
            page = scanned()
            left = {due.position for due in page.found if self._world.happens(0.2)}
            staged = self._store.stage(self.term, page, Lane.LIVE, capacity=capacity, left=left)
            return StagedNewest(staged.tasks, staged.spans, {}, page.next_cursor)

        return await self._take("stage the newest days", stage_newest)

    async def apply(self, tasks: Sequence[Task], *, leave_locked: bool) -> list[Task]:
        numbers = {task.task_id for task in tasks}
        locked: set[int] = set()
        if leave_locked:
            locked = set(self._store.locked)
        else:
            await self._unlocked(lambda: self._store.unapplied(numbers))
        incomplete = await self._take(
            "apply", lambda: self._store.apply(self.term, numbers, locked, now())
        )
        return [task for task in tasks if task.task_id in incomplete]

    async def release(
        self,
        task: Task,
        *,
        reason: str,
        pause_seconds: float = 0,
        worker: str | None = None,
        max_deaths: int | None = None,
        leave_locked: bool = False,
    ) -> tuple[int, bool]:
        failed = await self._take(
            f"release {task.task_id}",
            lambda: self._store.release(
                self.term, task.task_id, time=now() + pause_seconds, max_deaths=max_deaths
            ),
        )
        return failed, not await self.apply([task], leave_locked=leave_locked)

    async def log_unfinished(self, tasks: Sequence[Task]) -> None:
        """Nothing: it writes nothing."""

    async def queue_depth(self) -> Mapping[str, int]:
        return await self._take(
            "queue depth",
            lambda: {
                "triggers": len(self._store.triggers),
                "retries": len(self._store.deferred),
            },
        )

    def forget_connections(self) -> None:
        """Nothing: connections are not simulated."""

    def blockers(self) -> list[Blocker]:
        return [_OTHER] if self._waiting else []

    async def blockers_of_calendar(self, calendar: str) -> list[Blocker]:
        raise AssertionError("calendars are not locked here")

    async def blockers_of_positions(self, positions: Sequence[int]) -> list[Blocker]:
        return [_OTHER] if set(positions) & self._store.locked else []

    async def still_open(self, blockers: set[Blocker]) -> set[Blocker]:
        return blockers if self._store.locked else set()


class SimulatedWorker:
    """An actor's process. See actors.protocols.Worker."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self._world = world
        self._is_dead = False
        self._busy = asyncio.Lock()
        self._calls: set[asyncio.Future[TaskResult]] = set()
        self.most_at_once = 0

    async def connect(self) -> str:
        await asyncio.sleep(self._world.random.uniform(0, 2))
        if self._world.happens(self._world.faults.cannot_start):
            self._world.starts_failed += 1
            self._end()
        if self._is_dead:
            raise WorkerDiedError("the process cannot start")
        if self.name in self._world.sick or self._world.machine_is_sick:
            raise DatabaseUnavailableError("this machine does not reach the database")
        return "machine"

    async def run(self, task: Task) -> TaskResult:
        """Value a task, after those that were given to it before."""
        if self._is_dead:
            raise WorkerDiedError("the process has ended")
        call: asyncio.Future[TaskResult] = asyncio.get_running_loop().create_future()
        self._calls.add(call)
        self.most_at_once = max(self.most_at_once, len(self._calls))
        work = asyncio.ensure_future(self._value(task))
        work.add_done_callback(lambda work: self._answer(task, call, work))
        try:
            return await call
        finally:
            self._calls.discard(call)

    def _answer(
        self,
        task: Task,
        call: "asyncio.Future[TaskResult]",
        work: "asyncio.Future[TaskResult]",
    ) -> None:
        self._world.ended_at[task.task_id] = now()
        failure = None if work.cancelled() else work.exception()
        if isinstance(failure, Violation):
            self._world.note(str(failure))
            asyncio.get_running_loop().call_exception_handler({"exception": failure})
        if call.done() or work.cancelled():
            return
        if failure is not None:
            call.set_exception(failure)
        else:
            call.set_result(work.result())

    async def _value(self, task: Task) -> TaskResult:
        world, store, faults = self._world, self._world.store, self._world.faults
        async with self._busy:
            await world.delay()
            self._die_perhaps(task)
            if self.name in world.sick or world.happens(faults.transient):
                world.note(f"actor {self.name}: task {task.task_id} cannot be written")
                raise DatabaseUnavailableError("the actor does not reach the database")
            read = store.read(task)
            if any(span.position in store.poisoned for _, span, _ in read):
                self._end()
            await asyncio.sleep(world.task_seconds or world.random.expovariate(20))
            self._die_perhaps(task)
            if world.happens(faults.stalls):
                world.note(f"actor {self.name}: task {task.task_id} stalls")
                await asyncio.sleep(world.random.choice([10, 40, 100, 10_000]))
            result = store.commit(task, read)
            world.note(f"actor {self.name}: task {task.task_id}: {result.statuses}")
            self._die_perhaps(task)
            await world.delay()
            return result

    def _die_perhaps(self, task: Task) -> None:
        if self._world.happens(self._world.faults.dies / 3):
            self._world.note(f"actor {self.name} dies at task {task.task_id}")
            self._end()

    def _end(self) -> None:
        """End the process: every call that waits for it ends with an error, at some time."""
        self._is_dead = True
        for call in self._calls:
            asyncio.get_running_loop().call_later(self._world.random.uniform(0, 0.5), _fail, call)
        raise WorkerDiedError("the process has ended")

    def kill(self) -> None:
        """End the process; what it has sent to the database may be committed still."""
        self._is_dead = True
        for call in self._calls:
            asyncio.get_running_loop().call_soon(_fail, call)


def _fail(call: "asyncio.Future[TaskResult]") -> None:
    if not call.done():
        call.set_exception(WorkerDiedError("the process has ended"))


@dataclass
class Scheduler:
    """One scheduler's process, which leads in its term until it is stopped, killed or deposed."""

    world: World
    actors: int = 2

    def __post_init__(self) -> None:
        self.workers: list[SimulatedWorker] = []
        self.steps = SimulatedSteps(self.world, self.world.store.begin_term())
        self.pool = ActorPool(
            self._start,
            size=self.actors,
            tasks_per_actor=self.world.settings.tasks_per_actor,
            task_deadline_seconds=self.world.settings.task_deadline_seconds,
        )
        self.loop = SchedulerLoop(self.steps, self.pool, self.world.settings)
        self.work = asyncio.ensure_future(self._run())

    def _start(self, *, name: str, is_reserved: bool) -> SimulatedWorker:
        # Not by the name that the pool has drawn: it would not be the same in every run of a seed.
        worker = SimulatedWorker(self.world, f"{self.steps.term}.{len(self.workers)}")
        self.workers.append(worker)
        return worker

    async def _run(self) -> None:
        try:
            await self.loop.run()
        except TermLostError:
            if self.steps.term == self.world.store.term:
                raise
        finally:
            await self.pool.close()

    async def kill(self) -> None:
        """End the process without any warning; its actors end a little later, or go on for long."""
        self.work.cancel()
        await asyncio.gather(self.work, return_exceptions=True)
