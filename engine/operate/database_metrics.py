"""Metrics of positions, triggers, jobs and watermarks, read from the database at every scrape."""

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from revalue.engine import logs
from revalue.engine.errors import RevalueError
from revalue.engine.operate.kept_counts import known_counts, shared_counts
from revalue.engine.operate.position_counts import PositionCounts
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_LAG_DAYS = (0, 1, 2, 3, 5, 10, 30, 90, 365)
_ANSWER_SECONDS = 10.0  # Prometheus gives up a scrape then, unless it is configured otherwise
_KEPT_SECONDS = 1.0

_log = logs.logger("metrics")


@dataclass(frozen=True)
class Scrape:
    """What one scrape reads.

    Attributes:
        status: see Status. Of many positions, they were counted some scrapes before.
        lags: calendar days from watermark to horizon, and the number of positions with them.
        oldest: by state, the longest time in seconds that a position has been in it.
        horizon_ages: by calendar, the calendar days from its last opened date until today.
        last_loads: by kind of data, when something of it was last loaded.
    """

    status: Status
    lags: list[tuple[int, int]]
    oldest: dict[str, float]
    horizon_ages: dict[str, int]
    last_loads: dict[str, datetime]


class DatabaseCollector(Collector):
    """Collect positions by state, queues, dead letters and lags; no label per position."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asking = threading.Lock()
        self._kept: Scrape | None = None
        self._kept_until = -math.inf
        self._counts: PositionCounts | None = None
        self._counting: threading.Thread | None = None
        self._count_error: Exception | None = None

    def describe(self) -> list[Metric]:
        """Return nothing, so that the database is not asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one scrape.

        Without an answer only revalue_database_up 0: the server is away, does not answer in time,
        refuses the user, or has another schema; the log says which. Scrapes at the same time share
        one answer.
        """
        with self._asking:
            if time.monotonic() >= self._kept_until:
                self._kept = self._answer()
                self._kept_until = time.monotonic() + _KEPT_SECONDS
            scrape = self._kept
        if scrape is None:
            yield GaugeMetricFamily("revalue_database_up", "Whether PostgreSQL answers", value=0)
        else:
            yield from self.families(scrape)

    def _answer(self) -> Scrape | None:
        try:
            return asyncio.run(asyncio.wait_for(self.read(), _ANSWER_SECONDS))
        except TimeoutError:
            _log.warning("the database did not answer a scrape", seconds=_ANSWER_SECONDS)
        except RevalueError as error:
            _log.warning("the database cannot be read for metrics", reason=str(error))
        return None

    def families(self, scrape: Scrape) -> Iterator[Metric]:
        """Yield the metrics of what was read from the database."""
        status, lags = scrape.status, scrape.lags
        yield GaugeMetricFamily("revalue_database_up", "Whether PostgreSQL answers", value=1)
        yield GaugeMetricFamily(
            "revalue_positions_counted_timestamp_seconds",
            "When the positions, jobs and lags of this scrape were counted, in Unix time",
            value=status.counted_at.timestamp(),
        )
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
            "Spans of jobs that an abandoned attempt tried to finish, and could not",
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
        for state, seconds in scrape.oldest.items():
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
        horizons = GaugeMetricFamily(
            "revalue_horizon_age_days",
            "Calendar days from the last opened business day of a calendar until today",
            labels=["calendar"],
        )
        for calendar, age in scrape.horizon_ages.items():
            horizons.add_metric([calendar], age)
        yield horizons
        loads = GaugeMetricFamily(
            "revalue_last_load_timestamp_seconds",
            "When something of a kind was last loaded (not by SQL), in Unix time",
            labels=["kind"],
        )
        for kind, loaded_at in scrape.last_loads.items():
            loads.add_metric([kind], loaded_at.timestamp())
        yield loads
        yield _histogram(lags)

    async def read(self) -> Scrape:
        """Read the database, in a session of its own.

        Raises:
            TimeoutError: the positions were never counted, and that takes too long.
        """
        async with await self._open() as database:
            counts = await known_counts(database, last=self._counts)
            if counts is None:
                counts = await asyncio.to_thread(self._count)
            status = await read_status(database, counts)
            async with database.connection() as connection:
                oldest = await sql("oldest_work").one(
                    connection,
                    triggers=[id for id, each in counts.unpublished.items() if each.reprocessing],
                    waiting_job=counts.oldest_waiting_job,
                )
                horizons = await sql("horizon_ages").fetch(connection)
                loads = await sql("last_loads").fetch(connection)
        return Scrape(
            status,
            list(counts.lags.items()),
            {state: seconds or 0.0 for state, seconds in oldest.items()},
            {row["calendar_id"]: row["age_days"] for row in horizons},
            {row["kind"]: row["loaded_at"] for row in loads},
        )

    async def _open(self) -> Database:
        return await Database.open(
            self._url,
            connections=1,
            application="revalue metrics",
            statement_seconds=_ANSWER_SECONDS,
        )

    def _count(self) -> PositionCounts:
        """Return the last count, after waiting for one that is due.

        What takes longer than a scrape may take goes on, and a later scrape has it.
        """
        if self._counting is None:
            self._counting = threading.Thread(target=self._count_positions, daemon=True)
            self._counting.start()
        self._counting.join(_ANSWER_SECONDS * 0.8)
        if not self._counting.is_alive():
            self._counting = None
        if self._count_error is not None:
            raise self._count_error
        if self._counts is None:
            raise TimeoutError
        return self._counts

    def _count_positions(self) -> None:
        """Count all positions, however long it takes. For a thread of its own."""

        async def count() -> PositionCounts:
            async with await self._open() as database:
                return await shared_counts(database, last=self._counts)

        self._count_error = None
        try:
            self._counts = asyncio.run(count())
        except Exception as error:  # it is raised where the count is waited for
            self._count_error = error


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
