"""What the scheduler's loop works with: the database's steps, and a pool; the errors of a pool; and
where a scheduler can run.

The loop knows neither SQL nor Ray. tests/simulation runs it over simulated ones.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import PermanentError, TransientError
from revalue.engine.fan_out.fan_out import FannedOut
from revalue.engine.leadership.term import Control
from revalue.engine.postgres.blockers import Blocker
from revalue.engine.settings import Settings
from revalue.engine.stage.outlook import Outlook
from revalue.engine.stage.scan import Among, Scan
from revalue.engine.stage.stage import Staged, StagedNewest


class TaskLostError(TransientError):
    """The actor of a task was lost: whether the task committed has to be read from its job rows.

    Attributes:
        worker: the actor's name, by which its database sessions are terminated before its work is
            given to another actor.
        died: whether its process ended while it ran this task.
    """

    def __init__(self, message: str, worker: str | None = None, *, died: bool = False) -> None:
        super().__init__(message)
        self.worker = worker
        self.died = died


class WorkerDiedError(TransientError):
    """A worker's process has ended, or cannot be reached."""


class NoActorsError(PermanentError):
    """No valuation actor runs, and many in a row could not be started."""


class RayTooSlowError(TransientError):
    """A Ray of this machine's own did not start in Ray's time, as on a busy machine."""


class SchedulerStartError(PermanentError):
    """The scheduler's process could not begin: a node lacks what it needs."""


class Pool(Protocol):
    """Runs tasks, a bounded number at a time."""

    def capacity(self, lane: Lane) -> int:
        """The number of tasks of the lane that may be in flight at once."""

    async def run(self, task: Task, taken: Callable[[], None] = lambda: None) -> TaskResult:
        """Run one task. Cancelled before `taken` was called, it has not begun, and never will.

        Args:
            taken: is called when an actor has taken the task.

        Raises:
            TaskLostError: the outcome is unknown.
            TransientError: nothing was written.
            NoActorsError: there is no actor to run it.
        """

    async def close(self) -> None:
        """Stop the workers."""


class Worker(Protocol):
    """One process that values tasks, in the order in which they were given to it; or one thread.

    Attributes:
        name: by which its database sessions are found.
    """

    name: str

    async def connect(self) -> str:
        """Connect to the database, before the first task; return the name of its machine.

        Raises:
            TransientError: call again, the process is sound.
            WorkerDiedError: it is not.
        """

    async def run(self, task: Task) -> TaskResult:
        """Value a task.

        Raises:
            TransientError: nothing was written.
            WorkerDiedError: the outcome is unknown.
        """

    def kill(self) -> None:
        """End the process at once; of a thread, end its database sessions."""


class Steps(Protocol):
    """The steps of docs/protocol.md, each one transaction of one scheduler's term.

    Every method raises TermLostError once another scheduler leads, and TransientError if the
    database cannot be reached or gave way: whether the step was committed is unknown then, and
    `recover` brings back to order what it may have begun. A WriteConflictError with
    `is_lock_timeout` is raised after everything was rolled back.

    Attributes:
        term: the number of the term.
    """

    term: int

    async def control(self) -> Control:
        """Return what operators ask of this scheduler."""

    async def outlook(self) -> Outlook:
        """Return what there is to do for the steps that create jobs."""

    async def heartbeat(self) -> Control:
        """Record that this scheduler is alive; return what operators ask of it."""

    def listening(self, hear: Callable[[], None]) -> AbstractAsyncContextManager[asyncio.Event]:
        """Call `hear` after each commit of data; give an event that is set when this has ended."""

    async def recover(self, known: Sequence[Task], *, leave_locked: bool) -> list[int]:
        """Apply unapplied results, and release all attempts but `known`.

        Returns:
            The positions that were left because another session has locked them.
        """

    async def apply_left(self) -> list[int]:
        """Apply results that `recover` has left; return the positions that still are locked."""

    async def fan_out(self, *, max_positions: int, capacity: int) -> FannedOut | None:
        """Invalidate one page of positions, and stage as many as fit in `capacity` tasks.

        Returns:
            None: no trigger is queued.
        """

    async def is_live_held(self) -> bool:
        """Return whether a queued trigger affects dates of the live lane."""

    async def retry_due(self, *, max_jobs: int, capacity: int) -> list[Task]:
        """Begin the next attempt of deferred jobs that are due, in up to `capacity` tasks."""

    async def scan(
        self, lane: Lane, cursor: int, *, page_positions: int, among: Among = Among.ALL
    ) -> Scan:
        """Read the page of positions of a lane that begins after the position `cursor`."""

    async def forget_staged(self) -> None:
        """Let the positions that are staged be noted as unstaged no longer."""

    async def stage(self, scan: Scan, lane: Lane, *, capacity: int, leave_locked: bool) -> Staged:
        """Create jobs for a scan's first positions, in up to `capacity` tasks."""

    async def stage_newest(
        self, cursor: int, *, page_positions: int, capacity: int
    ) -> StagedNewest:
        """Create jobs for the newest days of the live lane's positions after `cursor`.

        Positions on which something else is due, or that others have locked, are left to a scan.
        """

    async def apply(self, tasks: Sequence[Task], *, leave_locked: bool) -> list[Task]:
        """Apply the results of tasks; return the tasks that still have locked positions."""

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
        """Apply what an attempt committed, and defer its other jobs without counting it.

        Args:
            pause_seconds: after which their next attempt may begin.
            worker: its actor, whose database sessions are ended first.
            max_deaths: set if its process died: jobs that this happened to so often fail.

        Returns:
            The number of jobs that failed, and whether all that was committed is applied.
        """

    async def log_unfinished(self, tasks: Sequence[Task]) -> None:
        """Log which jobs of applied tasks have failed or wait for data."""

    async def queue_depth(self) -> Mapping[str, int]:
        """Return what could be started now: queued triggers, and deferred jobs."""

    def forget_connections(self) -> None:
        """Close the connections for reading: they may be broken."""

    def blockers(self) -> list[Blocker]:
        """Return who holds locks for which a step waits at present."""

    async def blockers_of_calendar(self, calendar: str) -> list[Blocker]:
        """Return who has locked a calendar."""

    async def blockers_of_positions(self, positions: Sequence[int]) -> list[Blocker]:
        """Return who has locked any of these positions."""

    async def still_open(self, blockers: "set[Blocker]") -> "set[Blocker]":
        """Return those whose transaction has not ended."""


class Host(Protocol):
    """Where one scheduler runs and is asked: on Ray, or in this process.

    Attributes:
        runtime: its name as a runtime.
        poll_seconds: the pause between two questions while it works.
    """

    runtime: str
    poll_seconds: float

    @property
    def place(self) -> str:
        """Where it is, in words that begin with a preposition."""

    @property
    def is_here(self) -> bool:
        """Whether it serves its metrics on this machine."""

    def connected(self) -> AbstractContextManager[None]:
        """Connect this process for the block.

        Raises:
            UsageError: that cannot be done.
        """

    def start(self, url: str, settings: Settings, *, holder: str, take_over: bool) -> None:
        """Start the scheduler.

        Args:
            holder: under which it leads; it succeeds another one of that holder at once.

        Raises:
            LeaderActiveError: it is known already that another one leads.
        """

    def ask(self, idle_seconds: float | None) -> dict[str, Any] | None:
        """Return what Scheduler.progress says; None: it has not answered, ask again.

        Raises:
            SchedulerStartError, TermLostError, OutageError: it cannot begin, is gone, or is silent.
            RevalueError: what ended it.
        """

    def hand_over(self) -> dict[str, Any] | None:
        """Drain the scheduler, and end it, but keep its term for the next one of its holder.

        Returns:
            Its last progress, as far as it is known; None: see Scheduler.hand_over.
        """

    def stop(self) -> bool:
        """Drain the scheduler, and end it. Return whether the tasks in flight were applied."""


class Mover(Protocol):
    """Decides where a watched scheduler goes on."""

    def next(self, runtime: str, progress: dict[str, Any]) -> Host | None:
        """Return where to go on; None: stay.

        Args:
            runtime: where the scheduler runs.
            progress: what Scheduler.progress has said just now.
        """

    def refused(self, runtime: str, why: str) -> None:
        """Take note that the place which `next` has returned cannot be had.

        Args:
            runtime: where the scheduler stays.
        """
