"""An independent valuation, row by row in plain decimals, to check the engine's numbers with.

Written from docs/valuation.md alone. It shares no code with the engine, and nothing in it is vectorised: it is slow and
plain on purpose. `revalue verify`, the demo and the tests compare what PostgreSQL holds with it, digit for digit.
"""

import datetime
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import NamedTuple

Key = tuple[str, str]

_EXACT = Context(prec=150, rounding=ROUND_HALF_EVEN)
_TEN, _EIGHTEEN = Decimal(1).scaleb(-10), Decimal(1).scaleb(-18)
_LIMIT = Decimal(10) ** 18
_ZERO = Decimal(0)
_NOTHING = (_ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO)


class Row(NamedTuple):
    """What a key's row of a date must hold. Names as in the view position_valuations."""

    date: datetime.date
    quantity: Decimal
    cost_basis_local: Decimal
    cost_basis: Decimal
    price: Decimal | None
    price_date: datetime.date | None
    fx_rate: Decimal | None
    fx_date: datetime.date | None
    fx_path: int | None
    market_value_local: Decimal
    market_value: Decimal
    unrealized_gain_local: Decimal
    unrealized_gain: Decimal
    price_effect: Decimal
    fx_effect: Decimal
    valuation_status: str


class Hole(NamedTuple):
    """The first date of a key that cannot be valued, and the failure reason that names why."""

    date: datetime.date
    reason: str


@dataclass
class Book:
    """All that values follow from. Lists are sorted by date.

    calendars    calendar_id -> business dates
    portfolios   portfolio_id -> (base currency, calendar_id)
    instruments  security_id -> (currency, contract multiplier or None, max price age in sessions)
    prices       security_id -> [(date, price, currency, quote basis)]
    rates        (base, quote) -> [(date, rate)]
    facts        (portfolio_id, security_id) -> [(date, quantity, local cost basis, cost basis)]
    currencies   currency -> (major currency, units per major, currency_no)
    """

    calendars: dict[str, list[date]]
    portfolios: dict[str, tuple[str, str]]
    instruments: dict[str, tuple[str, Decimal | None, int]]
    prices: dict[str, list[tuple[date, Decimal, str, str]]]
    rates: dict[tuple[str, str], list[tuple[date, Decimal]]]
    facts: dict[Key, list[tuple[date, Decimal, Decimal, Decimal]]]
    currencies: dict[str, tuple[str, int, int]]
    fx_pivot: str
    fx_max_age: int
    _dates: dict[object, list[date]] = field(default_factory=dict, repr=False)
    _unit_prices: dict[tuple[str, str, date], object] = field(default_factory=dict, repr=False)
    _rates: dict[tuple[str, str, str, date], object] = field(default_factory=dict, repr=False)

    def expected(self, key: Key) -> Iterator[Row | Hole]:
        """The key's rows in order of date; a Hole, if there is one, is the last."""
        with localcontext(_EXACT):
            yield from self._expected(key)

    def _expected(self, key: Key) -> Iterator[Row | Hole]:
        portfolio, security = key
        base, calendar = self.portfolios[portfolio]
        local = self.instruments[security][0]
        facts = self.facts[key]
        position = -1
        for day in self.calendars[calendar]:
            while position + 1 < len(facts) and facts[position + 1][0] <= day:
                position += 1
            if position < 0:
                continue
            fact_date, quantity, cost_local, cost = facts[position]
            if quantity == 0:
                closes = fact_date == day and position > 0 and facts[position - 1][1] != 0
                if closes:
                    yield Row(day, _ZERO, cost_local, cost, None, None, None, None, None, *_NOTHING, "VALUED_CURRENT")
                continue
            found = self._unit_price(calendar, security, day)
            if isinstance(found, str):
                yield Hole(day, found)
                return
            price, price_date, price_fx_date = found
            converted = self._rate(calendar, local, base, day)
            if converted is None:
                yield Hole(day, f"FX_MISSING {local}/{base} {day}")
                return
            rate, rate_date, path = converted
            value_local = (quantity * price).quantize(_TEN)
            value = (value_local * rate).quantize(_TEN)
            gain_local, gain = value_local - cost_local, value - cost
            if max(abs(price), abs(value_local), abs(value), abs(gain_local), abs(gain)) >= _LIMIT:
                yield Hole(day, f"OVERFLOW {security} {day}")
                return
            price_effect = (gain_local * rate).quantize(_TEN)
            fresh = price_date == day and price_fx_date in (None, day) and rate_date in (None, day)
            yield Row(
                day, quantity, cost_local, cost, price, price_date, rate, rate_date, path, value_local, value, gain_local, gain,
                price_effect, gain - price_effect, "VALUED_CURRENT" if fresh else "VALUED_STALE",
            )  # fmt: skip

    def _unit_price(self, calendar: str, security: str, day: date) -> tuple[Decimal, date, date | None] | str:
        """(unit price, price date, date of the rate it was converted at), or the failure reason."""
        asked = (calendar, security, day)
        if asked not in self._unit_prices:
            self._unit_prices[asked] = self._find_unit_price(*asked)
        return self._unit_prices[asked]  # type: ignore[return-value]

    def _find_unit_price(self, calendar: str, security: str, day: date) -> tuple[Decimal, date, date | None] | str:
        currency, multiplier, max_age = self.instruments[security]
        quotes = self.prices.get(security, [])
        at = bisect_right(self._dates_of(("price", security), quotes), day) - 1
        if at < 0:
            return f"PRICE_MISSING {security} {day}"
        price_date, price, quoted_in, basis = quotes[at]
        age = self._age(calendar, price_date, day)
        if age is None or age > max_age:
            return f"PRICE_TOO_OLD {security} {day}"
        if basis == "PER_CONTRACT" and multiplier is None:
            return f"CONTRACT_MULTIPLIER_MISSING {security} {day}"
        factor = {"PER_UNIT": Decimal(1), "PERCENT_OF_PAR": Decimal("0.01"), "PER_CONTRACT": multiplier}[basis]
        assert factor is not None
        major, units, _ = self.currencies[quoted_in]
        unit_price = (price * factor / units).quantize(_EIGHTEEN)
        if major == currency:
            return unit_price, price_date, None
        converted = self._rate(calendar, major, currency, day)
        if converted is None:
            return f"FX_MISSING {major}/{currency} {day}"
        return (unit_price * converted[0]).quantize(_EIGHTEEN), price_date, converted[1]

    def _rate(self, calendar: str, source: str, target: str, day: date) -> tuple[Decimal, date | None, int] | None:
        """(rate, its date, its path), or None when it is missing."""
        asked = (calendar, source, target, day)
        if asked not in self._rates:
            self._rates[asked] = self._find_rate(*asked)
        return self._rates[asked]  # type: ignore[return-value]

    def _find_rate(self, calendar: str, source: str, target: str, day: date) -> tuple[Decimal, date | None, int] | None:
        if source == target:
            return Decimal(1), None, 0
        leg = self._leg(calendar, source, target, day)
        if leg is not None:
            return leg
        pivot = self.fx_pivot
        if pivot in (source, target):
            return None
        first, second = self._leg(calendar, source, pivot, day), self._leg(calendar, pivot, target, day)
        if first is None or second is None:
            return None
        path = 16 * self.currencies[pivot][2] + 4 * first[2] + second[2]
        return (first[0] * second[0]).quantize(_EIGHTEEN), min(first[1], second[1]), path

    def _leg(self, calendar: str, source: str, target: str, day: date) -> tuple[Decimal, date, int] | None:
        quoted = self._quoted(calendar, source, target, day)
        if quoted is not None:
            return quoted[1], quoted[0], 1
        quoted = self._quoted(calendar, target, source, day)
        return None if quoted is None else ((1 / quoted[1]).quantize(_EIGHTEEN), quoted[0], 2)

    def _quoted(self, calendar: str, base: str, quote: str, day: date) -> tuple[date, Decimal] | None:
        rates = self.rates.get((base, quote), [])
        at = bisect_right(self._dates_of((base, quote), rates), day) - 1
        if at < 0:
            return None
        age = self._age(calendar, rates[at][0], day)
        return rates[at] if age is not None and age <= self.fx_max_age else None

    def _age(self, calendar: str, dated: date, day: date) -> int | None:
        """Business dates b with dated < b <= day; None when `dated` is before the calendar begins."""
        days = self.calendars[calendar]
        return None if not days or dated < days[0] else bisect_right(days, day) - bisect_right(days, dated)

    def _dates_of(self, name: object, rows: list) -> list[date]:  # type: ignore[type-arg]
        if name not in self._dates:
            self._dates[name] = [row[0] for row in rows]
        return self._dates[name]
