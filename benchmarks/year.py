"""A year of ordinary days: does the bookkeeping grow with the days, and does a day get slower?

Each day its prices and its rate are loaded and the day is opened; when all of it is valued, two
stored prices are corrected, and on every tenth day one stored rate. The input is given by the
engine's own functions, as a user gives it. What is measured of the first and of the last days is
compared; at the end all tables are measured and every row is verified.
"""

import asyncio
import random
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Any

import polars as pl
import ray

from revalue.actors import cluster
from revalue.benchmarks.cost import Meter
from revalue.benchmarks.dataset import HOLDERS, make_book
from revalue.benchmarks.harness import BenchmarkFailedError, all_connected, quiet_again, verify
from revalue.benchmarks.sizes import others_per_snapshot_byte, table_sizes
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

POSITIONS = 20_000
DAYS = 250
_COMPARED_DAYS = 20
_RATE_EVERY_DAYS = 10
_SAYS_EVERY_DAYS = 10
_DAYS_AHEAD = 100
_LOOP = 500_000


@dataclass(frozen=True)
class Days:
    """The mean day of several.

    Attributes:
        seconds: from its first input until everything is valued and corrected.
        postgresql_cpu_seconds: of the whole server, autovacuum included.
        wal_bytes: written to PostgreSQL's log.
        loop_ms: what a plain loop took before it, by which the machine's own speed is known.
    """

    seconds: float
    postgresql_cpu_seconds: float
    wal_bytes: int
    loop_ms: float


@dataclass
class YearOutcome:
    """What was measured. It is one run.

    Attributes:
        dates: number of days.
        rows: that the engine wrote; rows_due: that had to be written, each of them once.
        seconds: of all days.
        first, last: the mean of the first and of the last days, compared_days each.
        day_seconds, day_postgresql_cpu_seconds, day_loop_ms: of each day.
        sizes: of each table: table_bytes, index_bytes and rows, the largest first.
        others_per_snapshot_byte: how many bytes all other tables take for one byte of snapshots.
        peak_anonymous_mib: the largest process of each kind at the end of a day.
        verified: number of rows compared, and their digest.
    """

    workload: str
    positions: int
    dates: int
    actors: int
    rows: int = 0
    rows_due: int = 0
    seconds: float = 0.0
    compared_days: int = 0
    first: Days | None = None
    last: Days | None = None
    day_seconds: list[float] = field(default_factory=list)
    day_postgresql_cpu_seconds: list[float] = field(default_factory=list)
    day_loop_ms: list[float] = field(default_factory=list)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)
    others_per_snapshot_byte: float = 0.0
    peak_anonymous_mib: dict[str, int] = field(default_factory=dict)
    verified: str = ""


async def measure(
    database: Database,
    settings: Settings,
    *,
    positions: int,
    days: int,
    say: Callable[[str], None],
) -> YearOutcome:
    """Live through the days on an empty database.

    Raises:
        BenchmarkFailedError: a row is wrong.
    """
    book = await _Book.make(database, positions, days)
    actors = settings.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    outcome = YearOutcome("year", positions, days, actors)
    wal: list[int] = []
    scheduler = cluster.start_scheduler(database.url, settings)
    try:
        before = await quiet_again(scheduler)
        await all_connected(database, actors)
        for number, day in enumerate(book.days, 1):
            outcome.day_loop_ms.append(_loop_ms())
            meter = Meter()
            await meter.start(database)
            begun = perf_counter()
            await book.open(day)
            await quiet_again(scheduler)
            await book.correct(number)
            progress = await quiet_again(scheduler)
            outcome.day_seconds.append(round(perf_counter() - begun, 3))
            cost = await meter.stop(database)
            outcome.day_postgresql_cpu_seconds.append(cost.cpu_seconds.get("postgresql", 0.0))
            wal.append(cost.wal_bytes)
            for kind, peak in cost.peak_anonymous_mib.items():
                known = outcome.peak_anonymous_mib.get(kind, 0)
                outcome.peak_anonymous_mib[kind] = max(known, peak)
            if number % _SAYS_EVERY_DAYS == 0:
                say(f"  … {number} of {days} days, {outcome.day_seconds[-1]:.2f} s the last one")
    finally:
        await asyncio.to_thread(cluster.stop_scheduler, scheduler)
    outcome.rows = progress["rows_written"] - before["rows_written"]
    outcome.rows_due = book.rows_due
    outcome.seconds = round(sum(outcome.day_seconds), 2)
    outcome.compared_days = compared = max(1, min(_COMPARED_DAYS, days // 2))
    outcome.first = _mean(outcome, wal, slice(None, compared))
    outcome.last = _mean(outcome, wal, slice(-compared, None))
    async with database.connection() as connection:
        left = await connection.fetchval(
            "SELECT count(*) FROM position_status WHERE state <> 'CURRENT'"
        )
        if left:
            raise BenchmarkFailedError(f"{left} positions are not current after {days} days")
        sizes = await table_sizes(connection, counted=True)
    outcome.sizes = {name: asdict(size) for name, size in sizes.items() if size.rows}
    outcome.others_per_snapshot_byte = round(others_per_snapshot_byte(sizes), 3)
    outcome.verified = await verify(database)
    return outcome


def _mean(outcome: YearOutcome, wal: list[int], days: slice) -> Days:
    seconds, cpu = outcome.day_seconds[days], outcome.day_postgresql_cpu_seconds[days]
    return Days(
        round(sum(seconds) / len(seconds), 3),
        round(sum(cpu) / len(cpu), 3),
        round(sum(wal[days]) / len(seconds)),
        round(statistics.median(outcome.day_loop_ms[days]), 1),
    )


def _loop_ms() -> float:
    """Time a plain loop: ten minutes later the same machine may be half as fast."""
    begun, total = perf_counter(), 0
    for number in range(_LOOP):
        total += number * number
    return round((perf_counter() - begun) * 1e3, 1)


class _Book:
    """A book whose calendar is known for years, with the input of its days.

    Attributes:
        days: the business days that are to be opened.
        rows_due: how many rows the input up to now asks for.
    """

    def __init__(
        self,
        database: Database,
        days: list[date],
        holders: dict[str, int],
        converting: int,
    ) -> None:
        self.days = days
        self.rows_due = 0
        self._database = database
        self._holders = holders
        self._converting = converting
        self._random = random.Random(42)
        self._stored: list[date] = []

    @classmethod
    async def make(cls, database: Database, positions: int, days: int) -> "_Book":
        # A security has at most half of the positions, so that two can be corrected.
        holders = max(1, min(HOLDERS, positions // 2))
        await make_book(database, positions=positions, dates=1, holders=holders)
        async with database.connection() as connection:
            first = await connection.fetchval("SELECT min(business_date) FROM business_dates")
            held: list[Any] = await connection.fetch(
                "SELECT security_id, count(*) FROM position_state GROUP BY 1"
            )
            converting = await connection.fetchval(
                """SELECT count(*) FROM position_state JOIN portfolios USING (portfolio_id)
                   WHERE base_currency = 'EUR'"""
            )
        weekdays = [
            day
            for day in (first + timedelta(n) for n in range(1, (days + _DAYS_AHEAD) * 2))
            if day.isoweekday() < 6
        ][: days + _DAYS_AHEAD]
        await load(
            database,
            Kind.BUSINESS_DATES,
            pl.DataFrame({"calendar_id": "BENCH", "business_date": weekdays}),
        )
        book = cls(database, weekdays[:days], dict(held), converting)
        book._stored.append(first)
        return book

    async def open(self, day: date) -> None:
        """Load the prices and the rate of the day, and open it."""
        securities = list(self._holders)
        prices = [f"{20 + 80 * self._random.random():.2f}" for _ in securities]
        rate = f"{1.05 + 0.1 * self._random.random():.4f}"
        for kind, frame in (
            (
                Kind.PRICES,
                pl.DataFrame(
                    {
                        "security_id": securities,
                        "price_date": day,
                        "price": prices,
                        "currency": "USD",
                        "quote_basis": "PER_UNIT",
                    }
                ),
            ),
            (
                Kind.FX_RATES,
                pl.DataFrame(
                    {
                        "base_currency": ["EUR"],
                        "quote_currency": "USD",
                        "rate_date": day,
                        "rate": rate,
                    }
                ),
            ),
        ):
            await load(self._database, kind, frame)
        await open_calendars(self._database, day)
        self._stored.append(day)
        self.rows_due += sum(self._holders.values())

    async def correct(self, number: int) -> None:
        """Correct one price of the day before and one of any day; on every tenth day a rate."""
        first, second = self._random.sample(list(self._holders), 2)
        earlier = self._stored[:-1]
        for security, day in ((first, earlier[-1]), (second, self._random.choice(earlier))):
            price = Decimal(f"{20 + 80 * self._random.random():.2f}")
            made = await corrections.price(self._database, security, day, price)
            self.rows_due += self._holders[security] if _is_changed(made) else 0
        if number % _RATE_EVERY_DAYS == 0:
            day = earlier[-min(len(earlier), _RATE_EVERY_DAYS)]
            rate = Decimal(f"{1.05 + 0.1 * self._random.random():.4f}")
            made = await corrections.rate(self._database, "EUR", "USD", day, rate)
            self.rows_due += self._converting if _is_changed(made) else 0


def _is_changed(made: corrections.Correction) -> bool:
    assert made.old is not None, "a stored price or rate was replaced"
    assert made.new is not None, "a stored price or rate was replaced"
    return Decimal(made.old) != Decimal(made.new)
