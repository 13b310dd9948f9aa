"""What the database says of positions, triggers, jobs and watermarks, for Prometheus: asked anew at every scrape."""

import asyncio
import math
from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from revalue.engine.errors import TransientError
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_LAG_DAYS = (0, 1, 2, 3, 5, 10, 30, 90, 365)


class DatabaseCollector(Collector):
    """Positions by state, queues, dead letters, and the lag of the watermarks. No label per position."""

    def __init__(self, url: str) -> None:
        self._url = url

    def describe(self) -> list[Metric]:
        """Nothing is asked of the database before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One scrape; while the database is away only revalue_database_up is given, as 0."""
        try:
            status, lags, oldest = asyncio.run(self._ask())
        except TransientError:
            yield GaugeMetricFamily("revalue_database_up", "Whether PostgreSQL answers", value=0)
            return
        yield from self.families(status, lags, oldest)

    def families(
        self, status: Status, lags: list[tuple[int, int]], oldest: dict[str, float]
    ) -> Iterator[Metric]:
        """What a scrape that found the database gives."""
        yield GaugeMetricFamily("revalue_database_up", "Whether PostgreSQL answers", value=1)
        positions = GaugeMetricFamily("revalue_positions", "Positions by state", labels=["state"])
        for state in ("CURRENT", "BEHIND", "REPROCESSING", "WAITING_FOR_DATA", "FAILED"):
            positions.add_metric([state], status.positions.get(state, 0))
        yield positions
        yield GaugeMetricFamily(
            "revalue_triggers_queued",
            "Corrections not yet fanned out",
            value=status.triggers_queued,
        )
        yield GaugeMetricFamily(
            "revalue_jobs_deferred",
            "Jobs that wait for data or for a retry",
            value=status.jobs_deferred,
        )
        yield GaugeMetricFamily(
            "revalue_dead_letters", "Jobs that failed for good", value=status.dead_letters
        )
        yield CounterMetricFamily(
            "revalue_zombie_jobs_fenced",
            "Jobs that attempts which had been given up came to finish, and could not",
            value=status.zombie_jobs_fenced,
        )
        yield GaugeMetricFamily(
            "revalue_paused",
            "Whether an operator has paused the scheduler",
            value=int(bool(status.paused_at)),
        )
        waiting = GaugeMetricFamily(
            "revalue_positions_not_current",
            "Positions that wait or failed, by reason",
            labels=["reason"],
        )
        for reason, count, _ in status.reasons:
            waiting.add_metric([reason], count)
        yield waiting
        age = status.heartbeat_age_seconds
        yield GaugeMetricFamily(
            "revalue_scheduler_heartbeat_age_seconds",
            "Since a leader last spoke; infinite: none ever has",
            value=math.inf if age is None else age,
        )
        for state, seconds in oldest.items():
            yield GaugeMetricFamily(
                f"revalue_oldest_{state}_seconds",
                f"Longest time that a position has been {state}; 0: none is",
                value=seconds,
            )
        yield GaugeMetricFamily(
            "revalue_snapshot_lag_days",
            "Calendar days from the oldest watermark to its horizon",
            value=max((lag for lag, _ in lags), default=0),
        )
        yield _histogram(lags)

    async def _ask(self) -> tuple[Status, list[tuple[int, int]], dict[str, float]]:
        async with await Database.open(
            self._url, connections=1, application="revalue metrics"
        ) as database:
            status = await read_status(database)
            async with database.connection() as connection:
                rows = await sql("watermark_lags").fetch(connection)
                oldest = await sql("oldest_work").row(connection)
        assert oldest is not None
        return (
            status,
            [(row["lag_days"], row["positions"]) for row in rows],
            {state: seconds or 0.0 for state, seconds in oldest.items()},
        )


def _histogram(lags: list[tuple[int, int]]) -> Metric:
    family = HistogramMetricFamily(
        "revalue_watermark_lag_days", "Calendar days from watermark to horizon, over positions"
    )
    buckets = [
        (str(float(bound)), float(sum(n for lag, n in lags if lag <= bound))) for bound in _LAG_DAYS
    ]
    total = float(sum(n for _, n in lags))
    family.add_metric(
        [], [*buckets, ("+Inf", total)], sum_value=float(sum(lag * n for lag, n in lags))
    )
    return family
