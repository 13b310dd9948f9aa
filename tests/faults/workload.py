"""What goes on while faults happen: somebody corrects, somebody reads, somebody checks. Each over
connections of its own, which break whenever the database is taken away."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import asyncpg

from revalue.engine.correct import corrections
from revalue.engine.correct.ingest import Kind, load
from revalue.engine.errors import RevalueError, TransientError
from revalue.engine.postgres.database import Database
from tests.faults.checks import check_now
from tests.support import DAYS, facts, load_small_book, prices

PORTFOLIOS = 10
AWAY = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    TransientError,
)


@dataclass
class Seen:
    """What the scenes have found."""

    corrections: int = 0
    refused: int = 0
    looks: int = 0
    rows_checked: int = 0
    reads: int = 0
    violations: list[str] = field(default_factory=list)


async def load_book(database: Database) -> None:
    """The small book, and security R, held by all: its price is the same number on every date, a
    version of its history."""
    await load_small_book(database, portfolios=PORTFOLIOS)
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
            "VALUES ('R', 'USD', 3)"
        )
    await load(database, Kind.PRICES, prices("R", dict.fromkeys(DAYS, "1")))
    for number in range(1, PORTFOLIOS + 1):
        await load(database, Kind.POSITIONS, facts(f"P{number}", "R", {DAYS[0]: "10"}))


async def again(work: Callable[[], Awaitable[None]], stop: asyncio.Event, pause: float) -> None:
    """Does it until told to stop; what fails because the database is away is begun anew."""
    while not stop.is_set():
        try:
            await work()
        except AWAY:
            await asyncio.sleep(0.1)
        await asyncio.sleep(pause)


class Corrector:
    """One correction after the other, drawn by the seed: prices, rates, positions, deletions, new
    days, late data."""

    def __init__(self, url: str, seed: int, seen: Seen) -> None:
        self._url = url
        self._random = random.Random(seed)
        self._seen = seen
        self._version = 1
        self._days = list(DAYS)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; then whatever is missing arrives, so that every position can become
        current."""
        await again(self._correct, stop, 0.05)
        async with await Database.open(self._url, connections=1) as database:
            for security in ("A", "B"):
                await load(
                    database, Kind.PRICES, prices(security, dict.fromkeys(self._days, "77.5"))
                )
            await self._rates(database, self._days)

    async def _correct(self) -> None:
        async with await Database.open(self._url, connections=1) as database:
            for _ in range(20):
                move = self._random.choice(
                    [
                        self._price,
                        self._price,
                        self._prices,
                        self._version_up,
                        self._rate,
                        self._position,
                        self._gone,
                        self._roll,
                    ]
                )
                try:
                    await move(database)
                    self._seen.corrections += 1
                except TransientError:
                    raise
                except RevalueError:
                    self._seen.refused += 1  # a price that was deleted cannot be corrected
                await asyncio.sleep(self._random.uniform(0, 0.3))

    def _some(self) -> tuple[str, date, str]:
        number = f"{self._random.randint(1, 99_999)}.{self._random.randint(0, 9999):04}"
        return self._random.choice("AB"), self._random.choice(self._days), number

    async def _price(self, database: Database) -> None:
        security, day, price = self._some()
        await load(database, Kind.PRICES, prices(security, {day: price}))

    async def _prices(self, database: Database) -> None:
        security, _, price = self._some()
        await load(
            database,
            Kind.PRICES,
            prices(security, {day: f"{price}{n}" for n, day in enumerate(self._days[3:9], 1)}),
        )

    async def _version_up(self, database: Database) -> None:
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
        security, day, quantity = self._some()
        if self._random.random() < 0.3:  # closed, perhaps to be opened again by the next
            await corrections.position(database, portfolio, security, day, *[Decimal(0)] * 3)
        else:
            await corrections.position(
                database, portfolio, security, day, *map(Decimal, (quantity, "1000", "900.5"))
            )

    async def _gone(self, database: Database) -> None:
        security, day, _ = self._some()
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


class Reader:
    """Hammers one portfolio: the dates of R in one answer are all of one version, and no answer is
    older than one before."""

    def __init__(self, url: str, portfolio: str, seen: Seen) -> None:
        self._url = url
        self._portfolio = portfolio
        self._seen = seen
        self._version = 0
        self._dates = 0
        self._epochs: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        await again(self._read, stop, 0)

    async def _read(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            for _ in range(200):
                rows = await connection.fetch(
                    """SELECT security_id, date, price, quantity, epoch FROM position_valuations
                       WHERE portfolio_id = $1 AND date <= $2""",
                    self._portfolio,
                    DAYS[-1],
                )
                self._look(rows)
                self._seen.reads += 1
                await asyncio.sleep(0.005)
        finally:
            connection.terminate()

    def _look(self, rows: list[Any]) -> None:
        versions = {row["price"] for row in rows if row["security_id"] == "R"}
        dates = sum(row["security_id"] == "R" for row in rows)
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
                f"hole: {self._portfolio} / R showed {self._dates} dates, then {dates}"
            )
        self._version, self._dates = max(versions, default=0), dates


class Checker:
    """Asks for the invariants, and holds all that is called CURRENT against the reference
    valuation, again and again. Epochs only rise."""

    def __init__(self, url: str, seen: Seen) -> None:
        self._url = url
        self._seen = seen
        self._epochs: dict[int, tuple[int, int]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        await again(self._check, stop, 0.2)

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
