"""A task: one attempt at a job or at several small jobs; the unit of work of a valuation actor.

Tasks exist in memory only; the jobs in the database carry their ids.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from revalue.engine.core.lifecycle import Lane

_N = TypeVar("_N", int, float)


@dataclass(frozen=True)
class Task:
    """The jobs that have this task_id, or those of their spans within a range of positions.

    A span is one position of a job with a range of its dates. The range of positions goes from
    first_position_id to last_position_id (both included).
    spans: expected number of spans. rows: expected number of position-days.
    """

    task_id: int
    first_position_id: int
    last_position_id: int
    spans: int
    rows: int
    lane: Lane

    @property
    def is_dense(self) -> bool:
        """Whether about one in eight position ids of its range, or more, belong to the task."""
        return self.last_position_id - self.first_position_id < 8 * self.spans

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters with which statements find the task's jobs and positions."""
        return {
            "task": self.task_id,
            "first_position": self.first_position_id,
            "last_position": self.last_position_id,
        }


@dataclass(frozen=True)
class TaskResult:
    """What an attempt did, for metrics. The job rows in the database hold the same.

    spans: number of spans that were valued.
    rows: position-days committed.
    fenced: spans that this attempt was no longer allowed to finish; their rows were dropped.
    statuses: number of spans by the new status of their job.
    reasons: number of spans by failure reason (first word).
    seconds: time by phase (read, compute, encode, mark, copy, commit).
    statements: number of statements sent to PostgreSQL.
    """

    task: Task
    spans: int
    rows: int
    fenced: int
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    statements: int = 0

    def merged(self, other: "TaskResult", task: Task) -> "TaskResult":
        """Return the result of `task` from the results of its two halves."""
        return TaskResult(
            task,
            self.spans + other.spans,
            self.rows + other.rows,
            self.fenced + other.fenced,
            _sum_by_name(self.statuses, other.statuses),
            _sum_by_name(self.reasons, other.reasons),
            _sum_by_name(self.seconds, other.seconds),
            self.statements + other.statements,
        )


def _sum_by_name(left: dict[str, _N], right: dict[str, _N]) -> dict[str, _N]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in left | right}
