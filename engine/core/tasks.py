"""A task: one attempt at a run of jobs, packed for one call of a valuation actor. It lives in memory only."""

from dataclasses import dataclass, field

from revalue.engine.core.lifecycle import Lane


@dataclass(frozen=True)
class Task:
    """The jobs of [first_job_id, last_job_id] whose task_id this is; their positions lie in [first_position_id, last_position_id].
    `rows` is the expected number of rows."""

    task_id: int
    first_job_id: int
    last_job_id: int
    first_position_id: int
    last_position_id: int
    rows: int
    lane: Lane

    @property
    def is_dense(self) -> bool:
        """Whether its positions are most of those between its first and its last."""
        return self.last_position_id - self.first_position_id < 8 * (
            self.last_job_id - self.first_job_id + 1
        )

    @property
    def parameters(self) -> dict[str, int]:
        """Those by which statements find its jobs and their positions."""
        return {
            "task": self.task_id,
            "first_job": self.first_job_id,
            "last_job": self.last_job_id,
            "first_position": self.first_position_id,
            "last_position": self.last_position_id,
        }


@dataclass(frozen=True)
class TaskResult:
    """What an attempt did. Everything in it can be read back from the job rows; the counts are for metrics.

    fenced: jobs that were no longer this attempt's to finish; their rows were dropped.
    reasons: number of jobs by failure reason (first word).
    seconds: by phase (read, compute, encode, mark, copy, commit).
    statements: sent to PostgreSQL.
    """

    task: Task
    jobs: int
    rows: int
    fenced: int
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    statements: int = 0

    def joined(self, other: "TaskResult", task: Task) -> "TaskResult":
        """Both as the result of `task`, of which they are the two halves."""
        return TaskResult(
            task,
            self.jobs + other.jobs,
            self.rows + other.rows,
            self.fenced + other.fenced,
            _summed(self.statuses, other.statuses),
            _summed(self.reasons, other.reasons),
            {
                phase: self.seconds.get(phase, 0.0) + other.seconds.get(phase, 0.0)
                for phase in {**self.seconds, **other.seconds}
            },
            self.statements + other.statements,
        )


def _summed(some: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + others.get(name, 0) for name in some | others}
