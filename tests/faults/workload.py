"""The workload during faults: a corrector, readers and a checker run concurrently.

Each has connections of its own, which break whenever the database becomes unavailable.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import asyncpg

from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import RevalueError, TransientError
from revalue.engine.postgres.database import Database
from tests.faults.checks import check_now
from tests.lake_rows import rows_in_tables
from tests.support import DAYS, facts, load_small_book, prices

PORTFOLIOS = 10
UNAVAILABLE = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    TransientError,
)


@dataclass
class Seen:
    """What the workload has seen.

    Attributes:
        corrections: committed; refused: corrections that the engine refused.
        looks: checks of the whole database; rows_checked: rows compared in them.
        reads: of a portfolio, by readers.
        violations: descriptions of broken invariants.
    """

    corrections: int = 0
    refused: int = 0
    looks: int = 0
    rows_checked: int = 0
    reads: int = 0
    violations: list[str] = field(default_factory=list)


async def load_book(database: Database) -> None:
    """Load the small book, and a security R that every portfolio holds.

    The price of R is the same on all dates: it is the version of R's history, so that a reader can
    recognize a mix of two versions.
    """
    await load_small_book(database, portfolios=PORTFOLIOS)
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
            "VALUES ('R', 'USD', 3)"
        )
    await load(database, Kind.PRICES, prices("R", dict.fromkeys(DAYS, "1")))
    for number in range(1, PORTFOLIOS + 1):
        await load(database, Kind.POSITIONS, facts(f"P{number}", "R", {DAYS[0]: "10"}))


async def repeat_until(
    work: Callable[[], Awaitable[None]], stop: asyncio.Event, pause: float
) -> None:
    """Repeat the work until `stop` is set; start it again when the database was unavailable."""
    while not stop.is_set():
        try:
            await work()
        except UNAVAILABLE:
            await asyncio.sleep(0.1)
        await asyncio.sleep(pause)


class Corrector:
    """Makes one correction after the other, drawn from a seed.

    Prices, rates and positions change; data is deleted, new business days open, and data is late.
    """

    def __init__(self, url: str, seed: int, seen: Seen) -> None:
        self._url = url
        self._random = random.Random(seed)
        self._seen = seen
        self._version = 1
        self._days = list(DAYS)

    async def run(self, stop: asyncio.Event) -> None:
        """Correct until `stop` is set; then load all missing data, so that positions can become
        current."""
        await repeat_until(self._correct, stop, 0.05)
        async with await Database.open(self._url, connections=1) as database:
            for security in ("A", "B"):
                await load(
                    database, Kind.PRICES, prices(security, dict.fromkeys(self._days, "77.5"))
                )
            await self._rates(database, self._days)

    async def _correct(self) -> None:
        async with await Database.open(self._url, connections=1) as database:
            for _ in range(20):
                correct = self._random.choice(
                    [
                        self._price,
                        self._price,
                        self._prices,
                        self._raise_version,
                        self._rate,
                        self._position,
                        self._delete,
                        self._roll,
                    ]
                )
                try:
                    await correct(database)
                    self._seen.corrections += 1
                except TransientError:
                    raise
                except RevalueError:
                    self._seen.refused += 1  # a price that was deleted cannot be corrected
                await asyncio.sleep(self._random.uniform(0, 0.3))

    def _draw(self) -> tuple[str, date, str]:
        number = f"{self._random.randint(1, 99_999)}.{self._random.randint(0, 9999):04}"
        return self._random.choice("AB"), self._random.choice(self._days), number

    async def _price(self, database: Database) -> None:
        security, day, price = self._draw()
        await load(database, Kind.PRICES, prices(security, {day: price}))

    async def _prices(self, database: Database) -> None:
        security, _, price = self._draw()
        await load(
            database,
            Kind.PRICES,
            prices(security, {day: f"{price}{n}" for n, day in enumerate(self._days[3:9], 1)}),
        )

    async def _raise_version(self, database: Database) -> None:
        async with database.connection() as connection:
            await connection.execute(
                "UPDATE market_prices SET price = $1 WHERE security_id = 'R'", self._version + 1
            )
        self._version += 1

    async def _rate(self, database: Database) -> None:
        await self._rates(database, [self._random.choice(self._days)])

    async def _rates(self, database: Database, days: list[date]) -> None:
        async with database.connection() as connection:
            await connection.execute(
                """INSERT INTO fx_rates (base_currency, quote_currency, rate_date, rate)
                   SELECT 'EUR', 'USD', d, 1 + $2::numeric / 1000 FROM unnest($1::date[]) AS d
                   ON CONFLICT (base_currency, quote_currency, rate_date) DO UPDATE
                       SET rate = excluded.rate""",
                days,
                self._random.randint(1, 900),
            )

    async def _position(self, database: Database) -> None:
        portfolio = f"P{self._random.randint(1, PORTFOLIOS)}"
        security, day, quantity = self._draw()
        if self._random.random() < 0.3:  # closed; a later correction may open it again
            await corrections.position(database, portfolio, security, day, *[Decimal(0)] * 3)
        else:
            await corrections.position(
                database, portfolio, security, day, *map(Decimal, (quantity, "1000", "900.5"))
            )

    async def _delete(self, database: Database) -> None:
        security, day, _ = self._draw()
        async with database.connection() as connection:
            if self._random.random() < 0.5:
                await connection.execute(
                    "DELETE FROM market_prices WHERE security_id = $1 AND price_date = $2",
                    security,
                    day,
                )
            else:
                await connection.execute("DELETE FROM fx_rates WHERE rate_date = $1", day)

    async def _roll(self, database: Database) -> None:
        if len(self._days) > 2 * len(DAYS) or self._random.random() < 0.7:
            return
        day = self._days[-1] + timedelta(days=1)
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO business_dates VALUES ('CAL', $1) ON CONFLICT DO NOTHING", day
            )
            await connection.execute("UPDATE calendars SET opened_through = $1", day)
            await connection.execute(
                """INSERT INTO market_prices (security_id, price_date, price, currency, quote_basis)
                   SELECT s, $1, CASE s WHEN 'R' THEN $2 ELSE 50 END, 'USD', 'PER_UNIT'
                   FROM unnest($3::text[]) AS s
                   ON CONFLICT DO NOTHING""",
                day,
                self._version,
                ["R", "A", "B"] if self._random.random() < 0.7 else ["R"],  # the others come late
            )
        self._days.append(day)


_SHOWN = """
    SELECT security_id, date, price, quantity, epoch FROM position_valuations
    WHERE portfolio_id = $1 AND date <= $2
    UNION ALL
    SELECT p.security_id, b.business_date, NULL, NULL, p.published_epoch
    FROM position_state p
    JOIN business_dates b ON b.calendar_id = 'CAL'
    WHERE p.portfolio_id = $1 AND b.business_date <= $2
      AND p.published_hidden @> b.business_date"""


class Reader:
    """Reads one portfolio all the time.

    All dates of R in one result must have the same version, and no result may be older than the
    result before it.
    """

    def __init__(self, url: str, portfolio: str, seen: Seen) -> None:
        self._url = url
        self._portfolio = portfolio
        self._seen = seen
        self._version = 0
        self._dates = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set."""
        await repeat_until(self._read, stop, 0)

    async def _read(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            for _ in range(200):
                async with rows_in_tables(connection, _SHOWN):
                    rows = await connection.fetch(_SHOWN, self._portfolio, DAYS[-1])
                self._check(rows)
                self._seen.reads += 1
                await asyncio.sleep(0.005)
        finally:
            connection.terminate()

    def _check(self, rows: list[Any]) -> None:
        shown = [row for row in rows if row["security_id"] == "R"]
        versions = {row["price"] for row in shown if row["price"] is not None}
        dates = len(shown)  # with the holes: when rates are deleted, R has no value in euros
        if len(versions) > 1:
            self._seen.violations.append(
                f"mixed read: {self._portfolio} / R shows versions {sorted(versions)}"
            )
        if versions and max(versions) < self._version:
            self._seen.violations.append(
                f"went back: {self._portfolio} / R from {self._version} to {max(versions)}"
            )
        if self._dates == len(DAYS) and dates < self._dates:
            self._seen.violations.append(
                f"lost: {self._portfolio} / R showed {self._dates} dates or holes, then {dates}"
            )
        self._version, self._dates = max(versions, default=0), dates


class Checker:
    """Checks the invariants all the time, and every CURRENT row against the reference valuation.

    It also checks that epochs never go down.
    """

    def __init__(self, url: str, seen: Seen) -> None:
        self._url = url
        self._seen = seen
        self._epochs: dict[int, tuple[int, int]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Check until `stop` is set."""
        await repeat_until(self._check, stop, 0.2)

    async def _check(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            for _ in range(50):
                rows, violations = await check_now(connection)
                epochs = await connection.fetch(
                    "SELECT position_id, epoch, published_epoch FROM position_state"
                )
                for position, *now in epochs:
                    before = self._epochs.get(position, (0, 0))
                    if now[0] < before[0] or now[1] < before[1]:
                        violations.append(
                            f"an epoch went down: position {position} from {before} to {now}"
                        )
                    self._epochs[position] = (now[0], now[1])
                self._seen.looks += 1
                self._seen.rows_checked += rows
                self._seen.violations += violations
                await asyncio.sleep(0.2)
        finally:
            connection.terminate()
