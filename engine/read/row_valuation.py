"""The rules of docs/valuation.md, row by row, in plain Python and exact decimals.

This is the second implementation of the rules; the first is the vectorised engine.core, of which
nothing is used here, so that a disagreement shows. The reference valuation (`revalue verify`, the
demo, the tests) walks whole histories with it, and `explain` narrates one row with it. No result is
rounded except where the page says so: every operation goes through EXACT, whose precision no
intermediate result reaches.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from operator import itemgetter
from typing import Any, NamedTuple, Protocol, TypeAlias

EXACT = Context(prec=150, rounding=ROUND_HALF_EVEN)
ZERO = Decimal(0)
ONE = Decimal(1)
PLACES_10 = Decimal("1e-10")
PLACES_18 = Decimal("1e-18")
LIMIT = Decimal(10) ** 18

SAME, DIRECT, INVERSE = 0, 1, 2

Day: TypeAlias = date
PositionKey: TypeAlias = tuple[str, str]
"""(portfolio_id, security_id)"""


@dataclass(frozen=True)
class Book:
    """Everything that a valuation depends on. Every list is sorted by its date.

    Attributes:
        calendars: calendar_id -> the business dates that are opened.
        portfolios: portfolio_id -> (base_currency, calendar_id).
        instruments: security_id -> (currency, contract_multiplier, max_price_age_sessions).
        prices: security_id -> (date, price as quoted, currency of the quotation, quote_basis).
        rates: (base, quote) -> (date, rate).
        records: position -> position records (date, quantity, cost_basis_local, cost_basis).
        currencies: code -> (major currency, units per major unit, currency_no).
        fx_pivot: the currency that crosses go through.
        fx_max_age: how many business days old a rate may be.
    """

    calendars: dict[str, list[date]]
    portfolios: dict[str, tuple[str, str]]
    instruments: dict[str, tuple[str, Decimal | None, int]]
    prices: dict[str, list[tuple[date, Decimal, str, str]]]
    rates: dict[tuple[str, str], list[tuple[date, Decimal]]]
    records: dict[PositionKey, list[tuple[date, Decimal, Decimal, Decimal]]]
    currencies: dict[str, tuple[str, int, int]]
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
    price_date: Day | None
    fx_rate: Decimal | None
    fx_date: Day | None
    fx_path: int | None
    market_value_local: Decimal
    market_value: Decimal
    unrealized_gain_local: Decimal
    unrealized_gain: Decimal
    price_effect: Decimal
    fx_effect: Decimal
    valuation_status: str


class Hole(NamedTuple):
    """A due date that cannot be valued, with the failure reason that a job would have."""

    position: PositionKey
    date: date
    reason: str

    @property
    def waits(self) -> bool:
        """Whether new data can fill it; else the number does not fit."""
        return not self.reason.startswith("OVERFLOW")


class Rate(NamedTuple):
    """A conversion rate, the date it is of (None: SAME) and its fx_path."""

    value: Decimal
    date: date | None
    path: int


class Narrator(Protocol):
    """Who is told each step of a valuation, in the order of the rules."""

    def record(self, day: date, quantity: Decimal, cost_local: Decimal, cost: Decimal) -> None:
        """The position record in force, in the currencies of instrument and portfolio."""

    def flat(self) -> None:
        """The quantity is 0: no price and no rate is needed."""

    def price(
        self, price: Decimal, currency: str, basis: str, day: date, age: int, first: date
    ) -> None:
        """The last known price, as quoted, and its age in business days, counted from `first`, the
        first one of the calendar."""

    def unit_price(self, price: Decimal, factor: Decimal, units: int, unit: Decimal) -> None:
        """The unit price in the major currency: price x factor / units, rounded."""

    def converted(self, unit: Decimal, rate: Decimal, price: Decimal) -> None:
        """The unit price in the currency of the instrument."""

    def same(self, currency: str) -> None:
        """The conversion of a currency to itself."""

    def too_old(
        self, pair: tuple[str, str], rate: Decimal, day: date, age: int, first: date
    ) -> None:
        """A quoted rate that is too old to be used; see price."""

    def leg(
        self,
        source: str,
        target: str,
        leg: Rate,
        quoted: tuple[tuple[str, str], Decimal, date, int],
    ) -> None:
        """A leg, direct or inverse, and its quotation: pair, rate, date and age."""

    def cross(self, source: str, target: str, first: Rate, second: Rate, value: Decimal) -> None:
        """The cross of two legs through the pivot currency."""

    def values(
        self,
        price: Decimal,
        rate: Decimal,
        value_local: Decimal,
        value: Decimal,
        gain_local: Decimal,
        gain: Decimal,
    ) -> None:
        """Values and gains, before they are compared with the limit of 18 digits."""

    def out_of_range(self, what: str, value: Decimal) -> None:
        """A result that is no number by the rules: it rounds to 0, or has more than 18 digits."""

    def effects(self, price_effect: Decimal, fx_effect: Decimal) -> None:
        """The split of the gain."""


def round_10(x: Decimal) -> Decimal:
    """Round half-even to 10 places."""
    return EXACT.quantize(x, PLACES_10)


def round_18(x: Decimal) -> Decimal:
    """Round half-even to 18 places."""
    return EXACT.quantize(x, PLACES_18)


class Rates:
    """Section 3: rate(X -> Y, d), by the place of d in a calendar. Results are kept."""

    def __init__(self, book: Book, narrator: Narrator | None = None) -> None:
        self.book = book
        self.narrator = narrator
        self.known: dict[tuple[str, str, str], dict[int, Rate | None]] = {}

    def table(self, source: str, target: str, calendar_id: str) -> dict[int, Rate | None]:
        """Return what is known so far of a pair on a calendar: place -> rate."""
        return self.known.setdefault((source, target, calendar_id), {})

    def rate(self, source: str, target: str, calendar_id: str, at: int) -> Rate | None:
        """Return how much of `target` one `source` is worth, or None: FX_MISSING."""
        table = self.table(source, target, calendar_id)
        if at not in table:
            table[at] = self._rate(source, target, self.book.calendars[calendar_id], at)
        return table[at]

    def _rate(self, source: str, target: str, days: list[date], at: int) -> Rate | None:
        if source == target:
            if self.narrator is not None:
                self.narrator.same(source)
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
        if self.narrator is not None:
            self.narrator.cross(source, target, first, second, value)
        if not ZERO < value < LIMIT:
            if self.narrator is not None:
                self.narrator.out_of_range(f"FX {source}/{target}", value)
            return None
        path = 16 * self.book.currencies[pivot][2] + 4 * first.path + second.path
        assert first.date is not None
        assert second.date is not None
        return Rate(value, min(first.date, second.date), path)

    def _leg(self, source: str, target: str, days: list[date], at: int) -> Rate | None:
        for pair, path in (((source, target), DIRECT), ((target, source), INVERSE)):
            quoted = self._quoted(pair, days, at)
            if quoted is None:
                continue
            rate, rate_date, _ = quoted
            value = rate if path == DIRECT else round_18(EXACT.divide(ONE, rate))
            leg = Rate(value, rate_date, path)
            if self.narrator is not None:
                self.narrator.leg(source, target, leg, (pair, *quoted))
            return leg
        return None

    def _quoted(
        self, pair: tuple[str, str], days: list[date], at: int
    ) -> tuple[Decimal, date, int] | None:
        rates = self.book.rates.get(pair, [])
        place = bisect_right(rates, days[at], key=itemgetter(0)) - 1
        if place < 0:
            return None
        rate_date, rate = rates[place]
        age = at + 1 - bisect_right(days, rate_date)
        if rate_date < days[0] or age > self.book.fx_max_age:
            if self.narrator is not None:
                self.narrator.too_old(pair, rate, rate_date, age, days[0])
            return None
        return rate, rate_date, age


def position_rows(
    book: Book,
    rates: Rates,
    position: PositionKey,
    *,
    only: date | None = None,
) -> Iterator[ExpectedRow | Hole]:
    """Value every due date of a position, in the order of the dates.

    Args:
        book: the data.
        rates: of the same book; its narrator, if it has one, is told every step.
        position: the position to value.
        only: value this date alone, if it is due.

    Yields:
        The row of each due date, or the hole in its place.
    """
    portfolio, security = position
    records = book.records.get(position)
    if not records:
        return
    base, calendar_id = book.portfolios[portfolio]
    local, multiplier, max_age = book.instruments[security]
    days = book.calendars.get(calendar_id, [])
    prices = book.prices.get(security, [])
    known_rates = rates.table(local, base, calendar_id)
    narrator = rates.narrator
    multiply, subtract, quantize = EXACT.multiply, EXACT.subtract, EXACT.quantize

    # next_*: the date from which the next record or price holds
    record_at, next_record = -1, _first_date(records)
    price_at, next_price = -1, _first_date(prices)
    quantity = cost_local = cost = ZERO
    unit: Decimal | None = None
    price_date, priced_through, major = date.min, 0, ""
    first, end = bisect_left(days, records[0][0]), len(days)
    if only is not None:
        first = max(first, bisect_left(days, only))
        end = bisect_right(days, only)
    for at in range(first, end):
        day = days[at]

        while next_record is not None and next_record <= day:
            record_at += 1
            next_record = records[record_at + 1][0] if record_at + 1 < len(records) else None
            _, quantity, cost_local, cost = records[record_at]
        if not quantity:
            if records[record_at][0] == day and record_at > 0 and records[record_at - 1][1]:
                if narrator is not None:
                    narrator.record(day, quantity, cost_local, cost)
                    narrator.flat()
                # fmt: off
                yield ExpectedRow(
                    portfolio, security, day, ZERO, cost_local, cost, None, None, None, None, None,
                    ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, "VALUED_CURRENT",
                )
                # fmt: on
            continue
        if narrator is not None:
            narrator.record(records[record_at][0], quantity, cost_local, cost)

        has_new_price = False
        while next_price is not None and next_price <= day:
            price_at += 1
            next_price = prices[price_at + 1][0] if price_at + 1 < len(prices) else None
            has_new_price = True
        if price_at < 0:
            yield Hole(position, day, f"PRICE_MISSING {security} {day}")
            continue
        if has_new_price:
            price_date, quoted_price, quoted_in, basis = prices[price_at]
            priced_through = bisect_right(days, price_date)  # business dates up to the price's
            major, units_per_major, _ = book.currencies[quoted_in]
            factor = _factor(basis, multiplier)
            unit = None
            if factor is not None:
                unit = round_18(
                    EXACT.divide(EXACT.multiply(quoted_price, factor), Decimal(units_per_major))
                )
        if narrator is not None:
            age = at + 1 - priced_through
            narrator.price(quoted_price, quoted_in, basis, price_date, age, days[0])
        if price_date < days[0] or at + 1 - priced_through > max_age:
            yield Hole(position, day, f"PRICE_TOO_OLD {security} {day}")
            continue
        if unit is None:
            yield Hole(position, day, f"CONTRACT_MULTIPLIER_MISSING {security} {day}")
            continue
        if narrator is not None and factor is not None:
            narrator.unit_price(quoted_price, factor, units_per_major, unit)
        is_current = price_date == day

        if major == local:
            price = unit
        else:
            conversion = rates.rate(major, local, calendar_id, at)
            if conversion is None:
                yield Hole(position, day, f"FX_MISSING {major}/{local} {day}")
                continue
            price = quantize(multiply(unit, conversion.value), PLACES_18)
            is_current = is_current and conversion.date == day
            if narrator is not None:
                narrator.converted(unit, conversion.value, price)

        try:
            rate = known_rates[at]
        except KeyError:
            rate = rates.rate(local, base, calendar_id, at)
        if rate is None:
            yield Hole(position, day, f"FX_MISSING {local}/{base} {day}")
            continue
        fx_rate, fx_date, fx_path = rate
        if fx_date is not None and fx_date != day:
            is_current = False

        value_local = quantize(multiply(quantity, price), PLACES_10)
        value = quantize(multiply(value_local, fx_rate), PLACES_10)
        gain_local = subtract(value_local, cost_local)
        gain = subtract(value, cost)
        if narrator is not None:
            narrator.values(price, fx_rate, value_local, value, gain_local, gain)
        if not (
            ZERO < price < LIMIT
            and unit < LIMIT
            and -LIMIT < value_local < LIMIT
            and -LIMIT < value < LIMIT
            and -LIMIT < gain_local < LIMIT
            and -LIMIT < gain < LIMIT
        ):
            if narrator is not None:
                amounts = {
                    "Market value, local": value_local,
                    "Market value": value,
                    "Unrealized gain, local": gain_local,
                    "Unrealized gain": gain,
                }
                for what, found in {"Unit price": unit, "Unit price, local": price}.items():
                    if not ZERO < found < LIMIT:
                        narrator.out_of_range(what, found)
                for what, found in amounts.items():
                    if not -LIMIT < found < LIMIT:
                        narrator.out_of_range(what, found)
            yield Hole(position, day, f"OVERFLOW {security} {day}")
            continue

        price_effect = quantize(multiply(gain_local, fx_rate), PLACES_10)
        fx_effect = subtract(gain, price_effect)
        if narrator is not None:
            narrator.effects(price_effect, fx_effect)
        # fmt: off
        yield ExpectedRow(
            portfolio, security, day, quantity, cost_local, cost, price, price_date,
            fx_rate, fx_date, fx_path, value_local, value, gain_local, gain,
            price_effect, fx_effect, "VALUED_CURRENT" if is_current else "VALUED_STALE",
        )
        # fmt: on


def _first_date(entries: Sequence[tuple[date, Any, Any, Any]]) -> date | None:
    return entries[0][0] if entries else None


def _factor(basis: str, multiplier: Decimal | None) -> Decimal | None:
    """Section 2, quote basis: what a quoted price is multiplied by; None: it is missing."""
    return {"PER_UNIT": ONE, "PERCENT_OF_PAR": Decimal("0.01"), "PER_CONTRACT": multiplier}[basis]
