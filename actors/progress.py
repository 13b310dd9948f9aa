"""Counts and times of a scheduler, which it reports to its callers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from revalue.engine.core.tasks import TaskResult


@dataclass
class Progress:
    """What this scheduler has done since it started.

    Attributes:
        jobs_created: a job counts once for each of its spans.
        spans_finished: spans of jobs whose result is stored; spans_fenced: those of an attempt that
            was not allowed to store it.
        statuses: the finished ones by status; reasons: by failure reason.
        seconds: by phase: the sums over all actors (engine.core.tasks.TaskResult), and the
            scheduler's own: fan out, scan (which includes deciding what is due), stage, apply.
        statements: sent to PostgreSQL by the actors.
        trouble: what the scheduler waits for, or None.
    """

    term: int
    rows_written: int = 0
    jobs_created: int = 0
    spans_finished: int = 0
    spans_fenced: int = 0
    tasks_finished: int = 0
    tasks_lost: int = 0
    positions_invalidated: int = 0
    in_flight: int = 0
    idle: bool = False
    paused: bool = False
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    statements: int = 0
    trouble: str | None = None

    def count(self, result: TaskResult) -> None:
        """Add the result of a finished task."""
        self.tasks_finished += 1
        self.spans_finished += result.spans
        self.rows_written += result.rows
        self.spans_fenced += result.fenced
        self.statements += result.statements
        for total, part in ((self.statuses, result.statuses), (self.reasons, result.reasons)):
            for name, spans in part.items():
                total[name] = total.get(name, 0) + spans
        for phase, spent in result.seconds.items():
            self.spend(phase, spent)

    def spend(self, phase: str, seconds: float) -> None:
        """Add time to a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the duration of the block to the phase."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.spend(phase, perf_counter() - begun)
