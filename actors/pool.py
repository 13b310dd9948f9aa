"""A bounded pool of valuation actors: the least loaded one first; a lost or sick one is replaced.

It knows no Ray (actors.ray_worker does), so that tests/simulation can run it over simulated
processes. Not built on `ray.util.ActorPool`, which queues without bound and never replaces a dead
actor.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Protocol

from revalue.actors.backoff import Backoff
from revalue.actors.protocols import NoActorsError, TaskLostError, Worker, WorkerDiedError
from revalue.engine import logs
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import TransientError

_log = logs.logger("pool")

_START_DEADLINE_SECONDS = 60
_REPLACE_PAUSE_SECONDS = (0.5, 30.0)
_MAX_FAILED_STARTS = 5  # in a row, per actor of the pool
# An actor that fails so often in a row, while others succeed, is replaced.
_MAX_FAILURES = 3


class StartWorker(Protocol):
    """Starts an actor."""

    def __call__(self, *, name: str, is_reserved: bool) -> Worker:
        """Return it at once, before it runs."""


class MemberState(StrEnum):
    """Where an actor of the pool is."""

    STARTING = "starting"  # it does not run yet, or cannot reach the database
    READY = "ready"
    RESTING = "resting"  # its last attempt could not write; it gets no task for some time
    LOST = "lost"  # killed, for it has died, answers no more, or fails again and again


_NEXT = {
    MemberState.STARTING: {MemberState.READY, MemberState.LOST},
    MemberState.READY: {MemberState.RESTING, MemberState.LOST},
    MemberState.RESTING: {MemberState.READY, MemberState.LOST},
    MemberState.LOST: set(),
}


class _Member:
    """An actor in the pool.

    Attributes:
        tasks: the actor runs the first; the others wait in its queue. Once it is lost they stay
            recorded, for the first one is the one at which it was lost.
        lost: its result says why the actor was given up, if it did not tell so itself.
        failures: how many attempts in a row could not write.
        successes_before: how many attempts had succeeded in the pool before the first of these.
        watched: the task that its deadline is for.
    """

    def __init__(self, worker: Worker, *, is_reserved: bool) -> None:
        self.worker = worker
        self.is_reserved = is_reserved
        self.state = MemberState.STARTING
        self.tasks: list[Task] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.machine = ""
        self.failures = self.successes_before = 0
        self.rests = Backoff()
        self.watched: Task | None = None
        self.deadline: asyncio.TimerHandle | None = None

    def enter(self, state: MemberState) -> None:
        """Move to another state; RuntimeError if it may not follow the present one."""
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"actor {self.worker.name} is {self.state}: it cannot be {state}")
        self.state = state


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
        start: StartWorker,
        *,
        size: int,
        tasks_per_actor: int,
        task_deadline_seconds: float,
    ) -> None:
        """Start the actors.

        Args:
            task_deadline_seconds: an actor that works longer on one task is considered lost.
        """
        self._start_worker = start
        self._size = size
        self._tasks_per_actor = tasks_per_actor
        self._deadline = task_deadline_seconds
        self._members: list[_Member] = []
        self._free = asyncio.Condition()
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False
        self._pauses = Backoff(*_REPLACE_PAUSE_SECONDS)
        self._failed_starts = 0
        self._successes = 0
        self.trouble: str | None = None
        self.replaced = 0
        for _ in range(size):
            self._add_member()
        self._add_member(is_reserved=True)

    def capacity(self, lane: Lane) -> int:
        """The number of tasks of the lane that may be in flight at once."""
        return (self._size + (lane is Lane.LIVE)) * self._tasks_per_actor

    async def run(self, task: Task, taken: Callable[[], None] = lambda: None) -> TaskResult:
        """Run a task on the least loaded actor, as soon as one is free.

        Cancelled before that, it has not begun.

        Args:
            taken: is called when an actor has taken the task.

        Raises:
            TaskLostError: the actor died, or worked on the task for longer than allowed. It is
                killed and replaced; whether the task committed has to be read from its job rows.
            TransientError: the attempt wrote nothing. The actor rests.
            NoActorsError: no actor runs, and too many in a row could not be started.
        """
        member = await self._take(task)
        taken()
        answer = asyncio.ensure_future(member.worker.run(task))
        try:
            await asyncio.wait((answer, member.lost), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise self._lost_at(member, task, member.lost.result(), died=False)
            result = answer.result()
        except WorkerDiedError as error:
            self._replace(member)
            raise self._lost_at(member, task, f"died: {error}", died=True) from error
        except TaskLostError:
            raise
        except TransientError:
            self._rest(member)
            raise
        else:
            self._successes += 1
            member.failures = 0
            member.rests.reset()
            return result
        finally:
            answer.cancel()
            if member.state is not MemberState.LOST:
                member.tasks.remove(task)
                self._watch_first(member)
            await self._notify()

    def _lost_at(self, member: _Member, task: Task, why: str, *, died: bool) -> TaskLostError:
        return TaskLostError(
            f"the valuation actor of task {task.task_id} {why}",
            member.worker.name,
            died=died and member.tasks[0] is task,
        )

    async def close(self) -> None:
        """Kill the actors."""
        self._closed = True
        for task in self._background:
            task.cancel()
        for member in self._members:
            self._lose(member)

    async def _take(self, task: Task) -> _Member:
        async with self._free:
            while True:
                usable = [
                    member
                    for member in self._members
                    if member.state is MemberState.READY
                    and len(member.tasks) < self._tasks_per_actor
                    and (task.lane is Lane.LIVE or not member.is_reserved)
                ]
                if usable:
                    member = min(usable, key=lambda m: (len(m.tasks), not m.is_reserved))
                    member.tasks.append(task)
                    self._watch_first(member)
                    return member
                self._raise_if_none_can_start()
                await self._free.wait()

    async def _notify(self) -> None:
        async with self._free:
            self._free.notify_all()

    def _watch_first(self, member: _Member) -> None:
        """Bound the time that the actor takes for its first task, from when it has come first."""
        first = member.tasks[0] if member.tasks else None
        if member.deadline is not None and member.watched is not first:
            member.deadline.cancel()
            member.deadline = None
        if first is not None and member.deadline is None:
            member.watched = first
            member.deadline = asyncio.get_running_loop().call_later(
                self._deadline, self._give_up, member
            )

    def _give_up(self, member: _Member) -> None:
        if member.state is not MemberState.LOST:
            member.lost.set_result(f"did not answer within {self._deadline:g} s")
            self._replace(member)

    def _rest(self, member: _Member) -> None:
        """Give the actor no task for some time; replace it if only its attempts fail."""
        if member.state is MemberState.LOST:
            return
        if not member.failures:
            member.successes_before = self._successes
        member.failures += 1
        if member.failures >= _MAX_FAILURES and self._successes > member.successes_before:
            _log.warning(
                "a valuation actor is replaced: its attempts fail while those of others succeed",
                actor=member.worker.name,
                machine=member.machine,
                failures=member.failures,
            )
            if not member.lost.done():
                member.lost.set_result("was replaced, because it could write nothing")
            self._replace(member)
        elif member.state is MemberState.READY:
            member.enter(MemberState.RESTING)
            self._run_in_background(self._end_rest(member))

    async def _end_rest(self, member: _Member) -> None:
        await member.rests.pause()
        if member.state is MemberState.RESTING:
            member.enter(MemberState.READY)
            await self._notify()

    def _raise_if_none_can_start(self) -> None:
        if self._failed_starts < _MAX_FAILED_STARTS * self._size or any(
            member.state is not MemberState.STARTING for member in self._members
        ):
            return
        raise NoActorsError(
            f"no valuation actor runs, and {self._failed_starts} in a row could not be started: "
            f"{self.trouble}. Every node needs this version of revalue, Ray and Python, memory for "
            "its actors, and access to the database"
        )

    def _add_member(self, *, is_reserved: bool = False) -> None:
        worker = self._start_worker(name=uuid.uuid4().hex[:12], is_reserved=is_reserved)
        member = _Member(worker, is_reserved=is_reserved)
        self._members.append(member)
        self._run_in_background(self._start(member))

    async def _start(self, member: _Member) -> None:
        """Wait until the actor is connected; replace it if its process cannot be started."""
        try:
            member.machine = await self._connect(member.worker)
        except TimeoutError:
            self._handle_failed_start(
                member, "it did not start in time; the cluster may have no free CPU"
            )
        except Exception as error:
            # A permanent error too: it may be that of one node, and the others are sound. After
            # many in a row the run ends with it.
            self._failed_starts += 1
            told = str(error).strip() or type(error).__name__
            self._handle_failed_start(member, told.splitlines()[-1])
        else:
            self._pauses.reset()
            self._failed_starts, self.trouble = 0, None
            member.enter(MemberState.READY)
        await self._notify()

    async def _connect(self, worker: Worker) -> str:
        pauses = Backoff()
        while True:
            try:
                return await asyncio.wait_for(worker.connect(), _START_DEADLINE_SECONDS)
            except WorkerDiedError:
                raise
            except TransientError as error:
                self._report_trouble(str(error))
                await pauses.pause()

    def _handle_failed_start(self, member: _Member, reason: str) -> None:
        if not self._closed:
            self._report_trouble(reason)
            self._replace(member)

    def _report_trouble(self, reason: str) -> None:
        """Log the reason once, until an actor starts."""
        if self.trouble is None:
            _log.warning("a valuation actor cannot start; retrying until one does", reason=reason)
        self.trouble = f"a valuation actor cannot start: {reason}"

    def _replace(self, member: _Member) -> None:
        if member.state is MemberState.LOST or self._closed:
            return
        self.replaced += 1
        self._lose(member)
        self._members.remove(member)
        self._run_in_background(self._add_member_later(is_reserved=member.is_reserved))

    def _lose(self, member: _Member) -> None:
        member.enter(MemberState.LOST)
        if member.deadline is not None:
            member.deadline.cancel()
        member.worker.kill()

    async def _add_member_later(self, *, is_reserved: bool) -> None:
        await self._pauses.pause()
        self._add_member(is_reserved=is_reserved)

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
