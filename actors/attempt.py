"""One attempt at a task, and the states that it goes through in its scheduler's memory."""

import asyncio
from enum import StrEnum

from revalue.actors.concurrency import now
from revalue.engine.core.tasks import Task, TaskResult


class AttemptState(StrEnum):
    """Where an attempt is. Its jobs are PROCESSING until the actor commits or it is released."""

    QUEUED = "queued"  # its jobs are created; it waits for capacity, and for its staggered start
    OFFERED = "offered"  # given to the pool; no actor has taken it
    RUNNING = "running"  # an actor has taken it
    ENDED = "ended"  # its result is here, or the error in place of it; nothing of it is applied
    LEFT = "left"  # applied, but for positions that another session has locked
    # The final states.
    APPLIED = "applied"  # the scheduler has taken over its result
    RELEASED = "released"  # what it committed is applied, its other jobs wait for a later attempt
    LEFT_BEHIND = "left behind"  # to the next scheduler, which applies or releases it


_NEXT = {
    AttemptState.QUEUED: {AttemptState.OFFERED, AttemptState.RELEASED, AttemptState.LEFT_BEHIND},
    AttemptState.OFFERED: {
        AttemptState.RUNNING,
        AttemptState.ENDED,  # without an actor: none can start
        AttemptState.QUEUED,  # withdrawn
        AttemptState.LEFT_BEHIND,
    },
    AttemptState.RUNNING: {AttemptState.ENDED, AttemptState.LEFT_BEHIND},
    AttemptState.ENDED: {
        AttemptState.APPLIED,
        AttemptState.RELEASED,
        AttemptState.LEFT,
        AttemptState.LEFT_BEHIND,
    },
    AttemptState.LEFT: {AttemptState.APPLIED, AttemptState.RELEASED, AttemptState.LEFT_BEHIND},
}
"""The states that may follow each state; a final state has none."""


class Attempt:
    """One attempt at a task.

    Attributes:
        task: what it is an attempt at.
        state: where it is; changed by `enter` only.
        begun: when it was given to the pool (the event loop's clock), or None.
        answer: the pool's answer, from OFFERED on.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.state = AttemptState.QUEUED
        self.begun: float | None = None
        self.answer: asyncio.Task[TaskResult] | None = None

    def enter(self, state: AttemptState) -> None:
        """Move to another state.

        Raises:
            RuntimeError: the state may not follow the present one: a fault of the scheduler.
        """
        if state not in _NEXT.get(self.state, ()):
            raise RuntimeError(
                f"the attempt at task {self.task.task_id} is {self.state}: it cannot become {state}"
            )
        self.state = state

    def offer(self, answer: "asyncio.Task[TaskResult]") -> None:
        """Enter OFFERED: the pool has been asked for the answer."""
        self.enter(AttemptState.OFFERED)
        self.begun, self.answer = now(), answer

    def taken(self) -> None:
        """Enter RUNNING: an actor has taken it."""
        self.enter(AttemptState.RUNNING)

    def withdraw(self) -> None:
        """Go back from OFFERED to QUEUED: no actor has taken it, and none will."""
        self.enter(AttemptState.QUEUED)
        assert self.answer is not None
        self.answer.cancel()
        self.begun = self.answer = None

    @property
    def is_final(self) -> bool:
        """Whether no state may follow: the scheduler has nothing more to do with it."""
        return self.state not in _NEXT

    @property
    def failure(self) -> BaseException | None:
        """The error that came in place of a result. Only for an attempt that has ended."""
        assert self.answer is not None
        return self.answer.exception()

    @property
    def result(self) -> TaskResult:
        """The result. Only for an attempt that has ended without an error."""
        assert self.answer is not None
        return self.answer.result()

    @property
    def seconds(self) -> float:
        """How long ago the attempt was given to the pool."""
        return 0.0 if self.begun is None else now() - self.begun
