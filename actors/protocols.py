"""What the scheduler's loop needs of the world around it: a pool that runs tasks, and something that wakes it."""

from typing import Protocol

from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import PermanentError, TransientError


class TaskLostError(TransientError):
    """The actor that ran the task is gone, or was given up: whether it committed is to be read from the job rows.

    worker: its name, by which its database sessions are ended before its work is given to another.
    died: whether its process ended, by itself or by anybody, while it was at this task.
    """

    def __init__(self, message: str, worker: str | None = None, *, died: bool = False) -> None:
        super().__init__(message)
        self.worker = worker
        self.died = died


class NoActorsError(PermanentError):
    """No valuation actor runs, and none of many could be started."""


class Pool(Protocol):
    """Runs tasks, a bounded number at a time."""

    def capacity(self, lane: Lane) -> int:
        """How many tasks of the lane may be in flight at once."""

    async def run(self, task: Task) -> TaskResult:
        """Runs one task. Raises TaskLostError (outcome unknown), TransientError (nothing written) or NoActorsError."""

    async def close(self) -> None:
        """Stops the workers."""
