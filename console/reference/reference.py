"""An independent valuation: docs/valuation.md written out once more, row by row, in plain Python and exact decimals.

`revalue verify`, the demo and the tests hold what PostgreSQL shows against it, digit for digit.
It knows the tables and the page, and nothing of the engine. Nothing here is vectorised, and no rounding happens but
where the page says so: every operation goes through `EXACT`, whose precision no intermediate result reaches.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

EXACT = Context(prec=150, rounding=ROUND_HALF_EVEN)
ZERO = Decimal(0)
ONE = Decimal(1)
PLACES_10 = Decimal("1e-10")
PLACES_18 = Decimal("1e-18")
LIMIT = Decimal(10) ** 18

SAME, DIRECT, INVERSE = 0, 1, 2

PositionKey = tuple[str, str]  # (portfolio_id, security_id)


@dataclass(frozen=True)
class Book:
    """Everything that a valuation depends on. Every list is sorted by its date."""

    calendars: dict[str, list[date]]
    portfolios: dict[str, tuple[str, str]]  # id: (base_currency, calendar_id)
    instruments: dict[
        str, tuple[str, Decimal | None, int]
    ]  # id: (currency, multiplier, max_price_age_sessions)
    prices: dict[
        str, list[tuple[date, Decimal, str, str]]
    ]  # security: (date, price, currency, quote_basis)
    rates: dict[tuple[str, str], list[tuple[date, Decimal]]]  # (base, quote): (date, rate)
    facts: dict[
        PositionKey, list[tuple[date, Decimal, Decimal, Decimal]]
    ]  # (date, quantity, cost_basis_local, cost_basis)
    currencies: dict[str, tuple[str, int, int]]  # code: (major, units_per_major, currency_no)
    fx_pivot: str
    fx_max_age: int


class ExpectedRow(NamedTuple):
    """The columns of position_valuations that follow from the rules, under their names there."""

    portfolio_id: str
    security_id: str
    date: date
    quantity: Decimal
    cost_basis_local: Decimal
    cost_basis: Decimal
    price: Decimal | None
    price_date: date | None
    fx_rate: Decimal | None
    fx_date: date | None
    fx_path: int | None
    market_value_local: Decimal
    market_value: Decimal
    unrealized_gain_local: Decimal
    unrealized_gain: Decimal
    price_effect: Decimal
    fx_effect: Decimal
    valuation_status: str


class Hole(NamedTuple):
    """The first owed date of a position that cannot be valued. The later ones are not listed."""

    position: PositionKey
    date: date
    reason: str


class Rate(NamedTuple):
    value: Decimal
    date: date | None
    path: int


def round_10(x: Decimal) -> Decimal:
    return EXACT.quantize(x, PLACES_10)


def round_18(x: Decimal) -> Decimal:
    return EXACT.quantize(x, PLACES_18)


class Rates:
    """rate(X -> Y, d) on the business dates of a calendar; d is given as its place in the calendar."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.known: dict[tuple[str, str, str], dict[int, Rate | None]] = {}

    def table(self, source: str, target: str, calendar_id: str) -> dict[int, Rate | None]:
        """What has been worked out so far for a pair on a calendar."""
        return self.known.setdefault((source, target, calendar_id), {})

    def rate(self, source: str, target: str, calendar_id: str, at: int) -> Rate | None:
        table = self.table(source, target, calendar_id)
        if at not in table:
            table[at] = self._rate(source, target, self.book.calendars[calendar_id], at)
        return table[at]

    def _rate(self, source: str, target: str, days: list[date], at: int) -> Rate | None:
        if source == target:
            return Rate(ONE, None, SAME)
        leg = self._leg(source, target, days, at)
        if leg is not None:
            return leg
        pivot = self.book.fx_pivot
        if pivot in (source, target):
            return None
        first = self._leg(source, pivot, days, at)
        second = self._leg(pivot, target, days, at)
        if first is None or second is None:
            return None
        value = round_18(EXACT.multiply(first.value, second.value))
        if not ZERO < value < LIMIT:
            return None
        path = 16 * self.book.currencies[pivot][2] + 4 * first.path + second.path
        return Rate(value, min(first.date, second.date), path)

    def _leg(self, source: str, target: str, days: list[date], at: int) -> Rate | None:
        quoted = self._quoted(source, target, days, at)
        if quoted is not None:
            return Rate(quoted[1], quoted[0], DIRECT)
        quoted = self._quoted(target, source, days, at)
        if quoted is not None:
            return Rate(round_18(EXACT.divide(ONE, quoted[1])), quoted[0], INVERSE)
        return None

    def _quoted(
        self, base: str, quote: str, days: list[date], at: int
    ) -> tuple[date, Decimal] | None:
        rates = self.book.rates.get((base, quote), ())
        place = bisect_right(rates, days[at], key=itemgetter(0)) - 1
        if place < 0:
            return None
        rate_date = rates[place][0]
        if rate_date < days[0] or at + 1 - bisect_right(days, rate_date) > self.book.fx_max_age:
            return None
        return rates[place]


def expected_rows(
    book: Book, positions: Iterable[PositionKey] | None = None
) -> Iterator[ExpectedRow | Hole]:
    """The owed rows of each position, by date, up to the position's first hole, which is given in place of its row."""
    rates = Rates(book)
    for position in sorted(book.facts) if positions is None else positions:
        for row in position_rows(book, rates, position):
            yield row
            if isinstance(row, Hole):
                break


def position_rows(book: Book, rates: Rates, position: PositionKey) -> Iterator[ExpectedRow | Hole]:
    """All owed dates of the position in their order: the row, or the hole in its place."""
    portfolio, security = position
    facts = book.facts.get(position)
    if not facts:
        return
    base, calendar_id = book.portfolios[portfolio]
    local, multiplier, max_age = book.instruments[security]
    days = book.calendars.get(calendar_id, [])
    prices = book.prices.get(security, [])
    known_rates = rates.table(local, base, calendar_id)
    multiply, subtract, quantize = EXACT.multiply, EXACT.subtract, EXACT.quantize

    fact_at, next_fact = -1, facts[0][0]  # next_*: the date on which the next entry begins to hold
    price_at, next_price = -1, prices[0][0] if prices else None
    quantity = cost_local = cost = unit = ZERO
    price_date = None
    for at in range(bisect_left(days, next_fact), len(days)):
        day = days[at]

        while next_fact is not None and next_fact <= day:
            fact_at += 1
            next_fact = facts[fact_at + 1][0] if fact_at + 1 < len(facts) else None
            _, quantity, cost_local, cost = facts[fact_at]
        if not quantity:
            if facts[fact_at][0] == day and fact_at > 0 and facts[fact_at - 1][1]:
                yield ExpectedRow(portfolio, security, day, ZERO, cost_local, cost, None, None, None, None, None,
                                  ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, "VALUED_CURRENT")  # fmt: skip
            continue

        moved = False
        while next_price is not None and next_price <= day:
            price_at += 1
            next_price = prices[price_at + 1][0] if price_at + 1 < len(prices) else None
            moved = True
        if price_at < 0:
            yield Hole(position, day, f"PRICE_MISSING {security} {day}")
            continue
        if moved:
            price_date, quoted_price, quoted_in, basis = prices[price_at]
            before = bisect_right(days, price_date)  # business dates up to the price's
            major, units_per_major, _ = book.currencies[quoted_in]
            unit = None if basis == "PER_CONTRACT" and multiplier is None else _unit(
                quoted_price, basis, multiplier, units_per_major)  # fmt: skip
        if price_date < days[0] or at + 1 - before > max_age:
            yield Hole(position, day, f"PRICE_TOO_OLD {security} {day}")
            continue
        if unit is None:
            yield Hole(position, day, f"CONTRACT_MULTIPLIER_MISSING {security} {day}")
            continue
        current = price_date == day

        if major == local:
            price = unit
        else:
            conversion = rates.rate(major, local, calendar_id, at)
            if conversion is None:
                yield Hole(position, day, f"FX_MISSING {major}/{local} {day}")
                continue
            price = quantize(multiply(unit, conversion.value), PLACES_18)
            current = current and conversion.date == day

        try:
            rate = known_rates[at]
        except KeyError:
            rate = rates.rate(local, base, calendar_id, at)
        if rate is None:
            yield Hole(position, day, f"FX_MISSING {local}/{base} {day}")
            continue
        fx_rate, fx_date, fx_path = rate
        if fx_date is not None and fx_date != day:
            current = False

        value_local = quantize(multiply(quantity, price), PLACES_10)
        value = quantize(multiply(value_local, fx_rate), PLACES_10)
        gain_local = subtract(value_local, cost_local)
        gain = subtract(value, cost)
        if not (ZERO < price < LIMIT and unit < LIMIT and -LIMIT < value_local < LIMIT and -LIMIT < value < LIMIT
                and -LIMIT < gain_local < LIMIT and -LIMIT < gain < LIMIT):  # fmt: skip
            yield Hole(position, day, f"OVERFLOW {security} {day}")
            continue

        price_effect = quantize(multiply(gain_local, fx_rate), PLACES_10)
        yield ExpectedRow(portfolio, security, day, quantity, cost_local, cost, price, price_date, fx_rate, fx_date,
                          fx_path, value_local, value, gain_local, gain, price_effect, subtract(gain, price_effect),
                          "VALUED_CURRENT" if current else "VALUED_STALE")  # fmt: skip


def _unit(price: Decimal, basis: str, multiplier: Decimal | None, units_per_major: int) -> Decimal:
    factor = {"PER_UNIT": ONE, "PERCENT_OF_PAR": Decimal("0.01"), "PER_CONTRACT": multiplier}[basis]
    return round_18(EXACT.divide(EXACT.multiply(price, factor), Decimal(units_per_major)))


# Reading the tables


@asynccontextmanager
async def one_snapshot(connection: Connection) -> AsyncIterator[None]:
    """Everything read inside is of one moment; a transaction that is open already is taken as it is."""
    if connection.is_in_transaction():
        yield
        return
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def stream(
    connection: Connection, query: str, *args: object
) -> AsyncIterator[list[asyncpg.Record]]:
    cursor = await connection.cursor(query, *args)
    while records := await cursor.fetch(5000):
        yield records


async def read_book(connection: Connection) -> Book:
    async with one_snapshot(connection):
        policy = await connection.fetchrow(
            "SELECT fx_pivot_currency, fx_max_age_sessions FROM valuation_policy"
        )
        book = Book(
            calendars={
                r["calendar_id"]: []
                for r in await connection.fetch("SELECT calendar_id FROM calendars ORDER BY 1")
            },
            portfolios={
                r["portfolio_id"]: (r["base_currency"], r["calendar_id"])
                for r in await connection.fetch(
                    "SELECT portfolio_id, base_currency, calendar_id FROM portfolios"
                )
            },
            instruments={
                r["security_id"]: (
                    r["currency"],
                    r["contract_multiplier"],
                    r["max_price_age_sessions"],
                )
                for r in await connection.fetch(
                    "SELECT security_id, currency, contract_multiplier, max_price_age_sessions FROM instruments"
                )
            },
            prices={},
            rates={},
            facts={},
            currencies={
                r["currency"]: (r["major_currency"], r["units_per_major"], r["currency_no"])
                for r in await connection.fetch(
                    "SELECT currency, major_currency, units_per_major, currency_no FROM currencies"
                )
            },
            fx_pivot=policy["fx_pivot_currency"],
            fx_max_age=policy["fx_max_age_sessions"],
        )
        async for records in stream(
            connection,
            "SELECT calendar_id, business_date FROM business_dates ORDER BY calendar_id, business_date",
        ):
            for calendar_id, day in records:
                book.calendars[calendar_id].append(day)
        async for records in stream(
            connection,
            "SELECT security_id, price_date, price, currency, quote_basis FROM market_prices ORDER BY security_id, price_date",
        ):
            for security, *price in records:
                book.prices.setdefault(security, []).append(tuple(price))
        async for records in stream(
            connection,
            "SELECT base_currency, quote_currency, rate_date, rate FROM fx_rates "
            "ORDER BY base_currency, quote_currency, rate_date",
        ):
            for base, quote, day, rate in records:
                book.rates.setdefault((base, quote), []).append((day, rate))
        async for records in stream(
            connection,
            "SELECT s.portfolio_id, s.security_id, h.position_date, h.quantity, h.cost_basis_local, h.cost_basis "
            "FROM position_state s "
            "JOIN position_history h ON h.position_id = s.position_id AND h.epoch = s.history_epoch "
            "ORDER BY h.position_id, h.position_date",
        ):
            for portfolio, security, *fact in records:
                book.facts.setdefault((portfolio, security), []).append(tuple(fact))
    return book


# Comparing with what the readers see


def fields(row: ExpectedRow) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in list(zip(row._fields, row, strict=True))[3:]
    )


@dataclass
class Comparison:
    rows_compared: int = 0  # rows that are both expected and stored
    disagreements: int = 0  # of those, the rows with a field that differs
    missing: int = 0  # expected, not stored
    extra: int = 0  # stored, not expected
    holes: dict[PositionKey, Hole] = field(
        default_factory=dict
    )  # the first of each position; what is owed after it may be stored
    examples: list[str] = field(default_factory=list)  # the first 20 of all kinds

    @property
    def agrees(self) -> bool:
        return not (self.disagreements or self.missing or self.extra)

    def note(self, text: str) -> None:
        if len(self.examples) < 20:
            self.examples.append(text)

    def take_expected(self, rows: Iterator[ExpectedRow | Hole]) -> ExpectedRow | None:
        for row in rows:
            if type(row) is ExpectedRow:
                return row
            self.holes.setdefault(row.position, row)
        return None

    def take_missing(self, row: ExpectedRow) -> None:
        if row[:2] in self.holes:
            return
        self.missing += 1
        self.note(
            f"{row.portfolio_id} {row.security_id} {row.date}: missing, expected {fields(row)}"
        )


COLUMNS = ", ".join(ExpectedRow._fields)


async def compare(
    connection: Connection, book: Book, *, positions: Iterable[PositionKey] | None = None
) -> Comparison:
    """Compare every field of every row that position_valuations shows with the rows of the rules.

    With `positions`, only these positions are looked at; without, all of the book's and all that are stored.
    """
    found = Comparison()
    rates = Rates(book)
    by_portfolio: dict[str, list[str]] = {
        portfolio: [security for _, security in group]
        for portfolio, group in groupby(
            sorted(set(book.facts if positions is None else positions)), key=itemgetter(0)
        )
    }
    async with one_snapshot(connection):
        if positions is None:
            for record in await connection.fetch(
                "SELECT DISTINCT portfolio_id FROM position_state"
            ):
                by_portfolio.setdefault(record["portfolio_id"], [])
        for portfolio in sorted(by_portfolio):
            securities = by_portfolio[portfolio]
            expected = (
                row
                for security in securities
                for row in position_rows(book, rates, (portfolio, security))
            )
            stored = stream(
                connection,
                f"SELECT {COLUMNS} FROM position_valuations "
                "WHERE portfolio_id = $1 AND ($2::text[] IS NULL OR security_id = ANY ($2)) "
                'ORDER BY security_id COLLATE "C", date',
                portfolio,
                None if positions is None else securities,
            )
            await _compare_portfolio(found, expected, stored)
    return found


async def _compare_portfolio(
    found: Comparison,
    expected: Iterator[ExpectedRow | Hole],
    stored: AsyncIterator[list[asyncpg.Record]],
) -> None:
    """Merge two streams that are both in the order of (security_id, date)."""
    want = found.take_expected(expected)
    async for records in stored:
        for record in records:
            have = ExpectedRow._make(record)
            if want is not None and have == want:  # the usual case
                found.rows_compared += 1
                want = found.take_expected(expected)
                continue
            while want is not None and want[1:3] < have[1:3]:
                found.take_missing(want)
                want = found.take_expected(expected)
            if want is None or want[1:3] > have[1:3]:
                found.extra += 1
                found.note(
                    f"{have.portfolio_id} {have.security_id} {have.date}: not owed, stored {fields(have)}"
                )
                continue
            found.rows_compared += 1
            differing = [
                f"{name} expected {ours}, stored {theirs}"
                for name, ours, theirs in zip(ExpectedRow._fields, want, have, strict=True)
                if ours != theirs
            ]
            if differing:
                found.disagreements += 1
                found.note(
                    f"{have.portfolio_id} {have.security_id} {have.date}: {'; '.join(differing)}"
                )
            want = found.take_expected(expected)
    while want is not None:
        found.take_missing(want)
        want = found.take_expected(expected)
