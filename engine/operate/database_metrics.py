"""Metrics of positions, triggers, jobs and watermarks, read from the database at every scrape."""

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
    """Collect positions by state, queues, dead letters and lags; no label per position."""

    def __init__(self, url: str) -> None:
        self._url = url

    def describe(self) -> list[Metric]:
        """Return nothing, so that the database is not asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one scrape; without a database only revalue_database_up 0."""
        try:
            status, lags, oldest = asyncio.run(self._ask())
        except TransientError:
            yield GaugeMetricFamily("revalue_database_up", "Whether PostgreSQL answers", value=0)
            return
        yield from self.families(status, lags, oldest)

    def families(
        self, status: Status, lags: list[tuple[int, int]], oldest: dict[str, float]
    ) -> Iterator[Metric]:
        """Yield the metrics of what was read from the database."""
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
            "Jobs that an abandoned attempt tried to finish, and could not",
            value=status.zombie_jobs_fenced,
        )
        yield GaugeMetricFamily(
            "revalue_paused",
            "Whether an operator has paused the scheduler",
            value=int(bool(status.paused_at)),
        )
        waiting = GaugeMetricFamily(
            "revalue_positions_not_current",
            "Positions that wait for data or failed, by reason",
            labels=["reason"],
        )
        for reason, count, _ in status.reasons:
            waiting.add_metric([reason], count)
        yield waiting
        age = status.heartbeat_age_seconds
        yield GaugeMetricFamily(
            "revalue_scheduler_heartbeat_age_seconds",
            "Seconds since the last heartbeat of a leader; infinite: there was none",
            value=math.inf if age is None else age,
        )
        for state, seconds in oldest.items():
            yield GaugeMetricFamily(
                f"revalue_oldest_{state}_seconds",
                f"Longest time that a position has been {state}, in seconds; 0: there is none",
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
                oldest = await sql("oldest_work").one(connection)
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
