"""What the scheduler tells Prometheus. Names follow Prometheus' conventions: base units, _total for counters."""

import polars as pl
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from revalue.engine.core.tasks import TaskResult

REGISTRY = CollectorRegistry()
_DAYS = (1, 2, 5, 10, 21, 63, 126, 252, 756, 2520)

JOBS_CREATED = Counter(
    "revalue_jobs_created", "Valuation jobs created", ["lane"], registry=REGISTRY
)
JOBS_FINISHED = Counter(
    "revalue_jobs_finished",
    "Jobs by the state that an attempt left them in",
    ["status"],
    registry=REGISTRY,
)
JOBS_NOT_COMPLETED = Counter(
    "revalue_jobs_not_completed",
    "Attempts that wait or failed, by reason",
    ["reason"],
    registry=REGISTRY,
)
JOBS_FENCED = Counter(
    "revalue_jobs_fenced",
    "Jobs whose attempt was over or whose epoch had moved on",
    registry=REGISTRY,
)
POSITIONS_INVALIDATED = Counter(
    "revalue_positions_invalidated", "Positions whose epoch fan-out raised", registry=REGISTRY
)
ROWS_WRITTEN = Counter("revalue_rows_written", "Snapshot rows committed", registry=REGISTRY)
TASKS_LOST = Counter(
    "revalue_tasks_lost", "Tasks given up because their actor was lost", registry=REGISTRY
)
TASKS_IN_FLIGHT = Gauge(
    "revalue_tasks_in_flight", "Tasks handed to valuation actors", registry=REGISTRY
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
    "revalue_task_phase_seconds", "Time of valuation actors by phase", ["phase"], registry=REGISTRY
)
GAP_DAYS = Histogram(
    "revalue_scheduler_gap_days",
    "Sessions in an owed range, when scanned",
    buckets=_DAYS,
    registry=REGISTRY,
)


def observe_task(result: TaskResult, seconds: float) -> None:
    """Counts one finished attempt."""
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
    """Counts the owed ranges of one scanned page. One observation a distinct length, not one a position."""
    for length, count in business_days.value_counts().iter_rows():
        GAP_DAYS._sum.inc(length * count)
        for bound, bucket in zip(GAP_DAYS._upper_bounds, GAP_DAYS._buckets, strict=True):
            if length <= bound:
                bucket.inc(count)
                break
