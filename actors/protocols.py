"""The pool as the scheduler's loop sees it, and the errors that a pool raises."""

from typing import Protocol

from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import PermanentError, TransientError


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


class TaskNotBegunError(TransientError):
    """No actor had taken the task when the pool was told to begin nothing more."""


class NoActorsError(PermanentError):
    """No valuation actor runs, and many in a row could not be started."""


class SchedulerStartError(PermanentError):
    """The scheduler's process could not begin: a node lacks what it needs."""


class Pool(Protocol):
    """Runs tasks, a bounded number at a time."""

    def capacity(self, lane: Lane) -> int:
        """The number of tasks of the lane that may be in flight at once."""

    async def run(self, task: Task) -> TaskResult:
        """Run one task.

        Raises:
            TaskLostError: the outcome is unknown.
            TaskNotBegunError: see decline.
            TransientError: nothing was written.
            NoActorsError: there is no actor to run it.
        """

    def decline(self) -> None:
        """Begin no further task: those that wait for an actor end with TaskNotBegunError."""

    async def close(self) -> None:
        """Stop the workers."""
