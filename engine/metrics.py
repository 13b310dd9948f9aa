"""The scheduler's Prometheus metrics, named by Prometheus' conventions (base units, _total)."""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate

import polars as pl
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from revalue.engine.core.tasks import TaskResult
from revalue.engine.errors import UsageError

REGISTRY = CollectorRegistry()

JOBS_CREATED = Counter(
    "revalue_jobs_created", "Valuation jobs created", ["lane"], registry=REGISTRY
)
JOBS_FINISHED = Counter(
    "revalue_jobs_finished",
    "Jobs by their status after an attempt",
    ["status"],
    registry=REGISTRY,
)
JOBS_NOT_COMPLETED = Counter(
    "revalue_jobs_not_completed",
    "Attempts that ended without completing their job, by reason",
    ["reason"],
    registry=REGISTRY,
)
JOBS_FENCED = Counter(
    "revalue_jobs_fenced",
    "Jobs whose attempt was abandoned or whose epoch was superseded",
    registry=REGISTRY,
)
POSITIONS_INVALIDATED = Counter(
    "revalue_positions_invalidated",
    "Positions that fan-out invalidated (raised to a new epoch)",
    registry=REGISTRY,
)
ROWS_WRITTEN = Counter("revalue_rows_written", "Snapshot rows committed", registry=REGISTRY)
TASKS_LOST = Counter(
    "revalue_tasks_lost", "Tasks abandoned because their actor was lost", registry=REGISTRY
)
TASKS_IN_FLIGHT = Gauge(
    "revalue_tasks_in_flight",
    "Tasks that valuation actors have and that are not applied yet",
    registry=REGISTRY,
)
OLDEST_IN_FLIGHT = Gauge(
    "revalue_oldest_in_flight_seconds", "Age of the oldest task in flight", registry=REGISTRY
)
TASK_SECONDS = Histogram(
    "revalue_task_seconds",
    "Time from dispatch to result",
    ["lane"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
PHASE_SECONDS = Counter(
    "revalue_task_phase_seconds",
    "Time that valuation actors spent, by phase",
    ["phase"],
    registry=REGISTRY,
)


class _GapDays(Collector):
    """A histogram that counts a whole frame at once: Histogram.observe takes a single value."""

    BOUNDS = (1, 2, 5, 10, 21, 63, 126, 252, 756, 2520)

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all observations."""
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self._sum = 0

    def add(self, value: int, count: int) -> None:
        """Count `count` observations of one value."""
        self._counts[bisect_left(self.BOUNDS, value)] += count
        self._sum += value * count

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the histogram as it is now."""
        names = [*(str(float(bound)) for bound in self.BOUNDS), "+Inf"]
        yield HistogramMetricFamily(
            "revalue_scheduler_gap_days",
            "Business days per due range, when scanned",
            buckets=list(zip(names, accumulate(self._counts), strict=True)),
            sum_value=self._sum,
        )


GAP_DAYS = _GapDays()
REGISTRY.register(GAP_DAYS)


def observe_task(result: TaskResult, seconds: float) -> None:
    """Count one finished attempt that took `seconds` from dispatch to result."""
    TASK_SECONDS.labels(lane=result.task.lane.value).observe(seconds)
    ROWS_WRITTEN.inc(result.rows)
    JOBS_FENCED.inc(result.fenced)
    for status, count in result.statuses.items():
        JOBS_FINISHED.labels(status=status).inc(count)
    for reason, count in result.reasons.items():
        JOBS_NOT_COMPLETED.labels(reason=reason).inc(count)
    for phase, spent in result.seconds.items():
        PHASE_SECONDS.labels(phase=phase).inc(spent)


def observe_gaps(business_days: pl.Series) -> None:
    """Count the due ranges of one scanned page by their length.

    Adds counts per distinct length instead of observing each position.
    """
    for length, count in business_days.value_counts().iter_rows():
        GAP_DAYS.add(length, count)


def begin_again() -> None:
    """Count from zero, as in a new process: one process may have schedulers after each other.

    If the counters went on, what another process has counted at the same address in between would
    be counted twice.
    """
    for labelled in (
        JOBS_CREATED,
        JOBS_FINISHED,
        JOBS_NOT_COMPLETED,
        TASK_SECONDS,
        PHASE_SECONDS,
    ):
        labelled.clear()
    for counter in (JOBS_FENCED, POSITIONS_INVALIDATED, ROWS_WRITTEN, TASKS_LOST):
        counter.reset()
    for gauge in (TASKS_IN_FLIGHT, OLDEST_IN_FLIGHT):
        gauge.set(0)
    GAP_DAYS.clear()


@contextmanager
def translated_port_errors(host: str, port: int, option: str) -> Iterator[None]:
    """Raise a UsageError that names the port if the block cannot listen on it.

    Args:
        option: the option of the command line that chooses another port.

    Raises:
        UsageError: the block cannot listen there, for example because the port is taken.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"metrics cannot be served on port {port} of {host}: {error.strerror}. Choose another "
            f"({option})"
        ) from error
