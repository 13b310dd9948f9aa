"""docs/valuation.md once more, with fractions: it reads the tables, and imports no rule."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from revalue.engine.postgres.database import Database
from tests.support import fetch

AMOUNTS = (
    "quantity", "cost_basis_local", "cost_basis", "price", "price_date", "fx_rate", "fx_date",
    "market_value_local", "market_value", "unrealized_gain_local", "unrealized_gain",
    "valuation_status",
)  # fmt: skip
EFFECTS = ("price_effect", "fx_effect")
Key = tuple[str, str, date]


def rounded(number: Fraction, places: int) -> Fraction:
    return Fraction(round(number * 10**places), 10**places)  # ties to even


def decimal(number: Fraction, places: int) -> Decimal:
    return Decimal(round(number * 10**places)).scaleb(-places)


class Missing(Exception):
    """The reason for which there is no number."""


@dataclass
class Data:
    """All that numbers are made of, as it is stored."""

    calendars: dict[str, list[date]]
    opened: dict[str, date | None]
    portfolios: dict[str, tuple[str, str]]
    instruments: dict[str, tuple[str, Decimal | None, int]]
    prices: dict[str, list[tuple[date, Decimal, str, str]]]
    rates: dict[tuple[str, str], list[tuple[date, Decimal]]]
    records: dict[tuple[str, str], list[tuple[date, Decimal, Decimal, Decimal]]]
    currencies: dict[str, tuple[str, int]]
    pivot: str
    fx_age: int

    @classmethod
    async def read(cls, database: Database) -> "Data":
        async def grouped(query: str, keys: int) -> dict[Any, list[Any]]:
            found: dict[Any, list[Any]] = {}
            for row in await fetch(database, query):
                key = row[0] if keys == 1 else row[:keys]
                found.setdefault(key, []).append(row[keys] if len(row) == keys + 1 else row[keys:])
            return found

        [(pivot, age)] = await fetch(
            database, "SELECT fx_pivot_currency, fx_max_age_sessions FROM valuation_policy"
        )
        return cls(
            await grouped("SELECT calendar_id, business_date FROM business_dates ORDER BY 1, 2", 1),
            dict(await fetch(database, "SELECT calendar_id, opened_through FROM calendars")),
            {
                p: (b, c)
                for p, b, c in await fetch(
                    database, "SELECT portfolio_id, base_currency, calendar_id FROM portfolios"
                )
            },
            {
                s: rest
                for s, *rest in await fetch(
                    database,
                    """SELECT security_id, currency, contract_multiplier, max_price_age_sessions
                       FROM instruments""",
                )
            },
            await grouped(
                """SELECT security_id, price_date, price, currency, quote_basis FROM market_prices
                   ORDER BY 1, 2""",
                1,
            ),
            await grouped(
                """SELECT base_currency, quote_currency, rate_date, rate FROM fx_rates
                   ORDER BY 1, 2, 3""",
                2,
            ),
            await grouped(
                """SELECT portfolio_id, security_id, position_date, quantity, cost_basis_local,
                          cost_basis FROM position_state JOIN position_history USING (position_id)
                   WHERE valid_to_epoch IS NULL ORDER BY 1, 2, 3""",
                2,
            ),
            {
                c: (m, u)
                for c, m, u in await fetch(
                    database, "SELECT currency, major_currency, units_per_major FROM currencies"
                )
            },
            pivot,
            age,
        )

    def told(self) -> dict[Key, dict[str, Any] | str]:
        """What is to be told of every open business day: a row, or why there is none."""
        found: dict[Key, dict[str, Any] | str] = {}
        for (portfolio, security), records in self.records.items():
            base, calendar = self.portfolios[portfolio]
            horizon = self.opened[calendar]
            for day in self.calendars.get(calendar, []):
                if horizon is None or day > horizon:
                    continue
                upto = [r for r in records if r[0] <= day]
                if not upto:
                    continue
                if not upto[-1][1] and not (
                    upto[-1][0] == day and len(upto) > 1 and upto[-2][1] != 0
                ):
                    continue
                try:
                    found[portfolio, security, day] = self.value(
                        upto[-1], security, base, calendar, day
                    )
                except Missing as why:
                    found[portfolio, security, day] = str(why)
        return found

    def age(self, calendar: str, since: date, day: date) -> int | None:
        days = self.calendars[calendar]
        return None if since < days[0] else sum(since < d <= day for d in days)

    def quoted(self, pair: tuple[str, str], calendar: str, day: date) -> Any:
        upto = [r for r in self.rates.get(pair, []) if r[0] <= day]
        if not upto:
            return None
        age = self.age(calendar, upto[-1][0], day)
        return upto[-1] if age is not None and age <= self.fx_age else None

    def leg(self, x: str, y: str, calendar: str, day: date) -> Any:
        if (direct := self.quoted((x, y), calendar, day)) is not None:
            return direct[0], Fraction(direct[1])
        if (inverse := self.quoted((y, x), calendar, day)) is not None:
            return inverse[0], rounded(1 / Fraction(inverse[1]), 18)
        return None

    def rate(self, x: str, y: str, calendar: str, day: date) -> tuple[date | None, Fraction]:
        if x == y:
            return None, Fraction(1)
        if (leg := self.leg(x, y, calendar, day)) is not None:
            return leg
        if self.pivot not in (x, y):
            first, second = (
                self.leg(x, self.pivot, calendar, day),
                self.leg(self.pivot, y, calendar, day),
            )
            if first and second and (product := rounded(first[1] * second[1], 18)):
                return min(first[0], second[0]), product
        raise Missing(f"FX_MISSING {x}/{y} {day}")

    def value(self, record: Any, security: str, base: str, calendar: str, day: date) -> Any:
        _, quantity, cost_local, cost = record
        if quantity == 0:
            zero = Decimal(0)
            return {
                **dict.fromkeys(AMOUNTS, zero),
                **dict.fromkeys(EFFECTS, zero),
                **dict.fromkeys(("price", "price_date", "fx_rate", "fx_date")),
                "valuation_status": "VALUED_CURRENT",
                "conversion_date": None,
            }
        local, multiplier, limit = self.instruments[security]
        upto = [p for p in self.prices.get(security, []) if p[0] <= day]
        if not upto:
            raise Missing(f"PRICE_MISSING {security} {day}")
        price_date, price, currency, basis = upto[-1]
        age = self.age(calendar, price_date, day)
        if age is None or age > limit:
            raise Missing(f"PRICE_TOO_OLD {security} {day}")
        factor = {"PER_UNIT": Fraction(1), "PERCENT_OF_PAR": Fraction(1, 100)}.get(basis)
        if factor is None:
            if multiplier is None:
                raise Missing(f"CONTRACT_MULTIPLIER_MISSING {security} {day}")
            factor = Fraction(multiplier)
        major, units = self.currencies[currency]
        unit = rounded(Fraction(price) * factor / units, 18)
        dates = [price_date]
        conversion = None
        if major != local:
            conversion, by = self.rate(major, local, calendar, day)
            unit = rounded(unit * by, 18)
            dates.append(conversion)
        fx_date, fx = self.rate(local, base, calendar, day)
        dates += [fx_date] if fx_date else []
        value_local = rounded(Fraction(quantity) * unit, 10)
        value = rounded(value_local * fx, 10)
        gain_local, gain = value_local - Fraction(cost_local), value - Fraction(cost)
        by_price = rounded(gain_local * fx, 10)
        return {
            "quantity": quantity,
            "cost_basis_local": cost_local,
            "cost_basis": cost,
            "price": decimal(unit, 18),
            "price_date": price_date,
            "fx_rate": decimal(fx, 18),
            "fx_date": fx_date,
            "market_value_local": decimal(value_local, 10),
            "market_value": decimal(value, 10),
            "unrealized_gain_local": decimal(gain_local, 10),
            "unrealized_gain": decimal(gain, 10),
            "valuation_status": "VALUED_CURRENT"
            if all(d == day for d in dates)
            else "VALUED_STALE",
            "price_effect": decimal(by_price, 10),
            "fx_effect": decimal(gain - by_price, 10),
            "conversion_date": conversion,
        }
