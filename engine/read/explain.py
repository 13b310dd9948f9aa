"""How one number came about: its inputs, the arithmetic in plain decimals, and whether the stored row agrees.

It follows docs/valuation.md with Python's Decimal, apart from the vectorised core, so that a disagreement shows.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

from revalue.engine.core.decimals import LIMIT
from revalue.engine.core.lifecycle import FailureReason
from revalue.engine.errors import NotFoundError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.read.queries import reprocessing_since

sql = statements(__package__)

_PLACES = {10: Decimal(1).scaleb(-10), 18: Decimal(1).scaleb(-18)}
_COMPARED = (
    "quantity",
    "cost_basis_local",
    "cost_basis",
    "price",
    "price_date",
    "fx_rate",
    "fx_date",
    "market_value_local",
    "market_value",
    "unrealized_gain_local",
    "unrealized_gain",
)


@dataclass
class Explanation:
    """Why a number is what it is.

    position       the position's state, currencies and limits (view position_status and reference data)
    steps     what was looked up and computed, in order, as sentences
    computed  the row's fields as recomputed; empty when no row is owed or data is missing
    missing   the failure reason that a job would give, or None
    stored    the row that readers see, with its epoch, job and trigger, or None
    differences  field -> (stored, recomputed); empty when they agree
    """

    portfolio_id: str
    security_id: str
    date: date
    position: dict[str, Any]
    steps: list[str] = field(default_factory=list)
    computed: dict[str, Any] = field(default_factory=dict)
    missing: str | None = None
    stored: dict[str, Any] | None = None
    differences: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """AGREES, DISAGREES, REPROCESSING (what is stored is not what the data give now, and the position says so), MISSING (nothing
        is stored, and nothing can be: see `missing`), NOT_VALUED_YET or NOT_DUE."""
        if self.stored:
            if self.computed and not self.differences:
                return "AGREES"
            return (
                "REPROCESSING"
                if self.position["reprocessing_status"] == "IN_PROGRESS"
                else "DISAGREES"
            )
        if self.missing:
            return "MISSING"
        return "NOT_VALUED_YET" if self.computed else "NOT_DUE"


class _Missing(Exception):
    """No number can be had: a price or a rate is missing, or the number is too large. The message is the failure reason."""


async def explain(database: Database, portfolio: str, security: str, day: date) -> Explanation:
    """Recomputes the value of a position on a date. Raises NotFoundError when there is no such position."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        position = await sql("explain_position").row(
            connection, portfolio=portfolio, security=security, date=day
        )
        if position is None:
            raise NotFoundError(f"portfolio {portfolio!r} has never held security {security!r}")
        began = await reprocessing_since(connection, [position])
        stored = await sql("explain_stored").row(
            connection, portfolio=portfolio, security=security, date=day
        )
        explanation = Explanation(
            portfolio, security, day, dict(position), stored=dict(stored) if stored else None
        )
        explanation.position["reprocessing_since"] = began.get(position["position_id"])
        with localcontext(Context(prec=120, rounding=ROUND_HALF_EVEN)):
            try:
                await _Explainer(connection, explanation).run()
            except _Missing as reason:
                explanation.missing = str(reason)
                explanation.steps.append(f"No number: {reason}")
    if explanation.stored and explanation.computed:
        explanation.differences = {
            name: (explanation.stored[name], explanation.computed[name])
            for name in _COMPARED
            if explanation.stored[name] != explanation.computed[name]
        }
    return explanation


class _Explainer:
    def __init__(self, connection: Connection, explanation: Explanation) -> None:
        self._connection = connection
        self._explanation = explanation
        self._key = explanation.position
        self._day = explanation.date

    async def run(self) -> None:
        position, day = self._key, self._day
        if not position["is_business_date"]:
            self._say(
                f"{day} is no business date of calendar {position['calendar_id']}: no row is owed"
            )
            return
        if not position["is_open"]:
            self._say(f"The position is not open on {day}: no row is owed")
            return
        fact = await sql("explain_record").row(
            self._connection,
            position=position["position_id"],
            epoch=position["history_epoch"],
            date=day,
        )
        assert fact is not None
        quantity, cost_local, cost = fact["quantity"], fact["cost_basis_local"], fact["cost_basis"]
        self._say(
            f"Position: the fact of {fact['position_date']}: quantity {plain(quantity)}, cost basis {plain(cost_local)} "
            f"{position['local_currency']}, {plain(cost)} {position['base_currency']} (history of epoch {position['history_epoch']})"
        )
        computed: dict[str, Any] = {
            "quantity": quantity,
            "cost_basis_local": cost_local,
            "cost_basis": cost,
        }
        if quantity == 0:
            self._say("Quantity 0: values and gains are exactly 0, no price and no rate is needed")
            computed.update(dict.fromkeys(("price", "price_date", "fx_rate", "fx_date")))
            computed.update(dict.fromkeys(_COMPARED[7:], Decimal(0)))
            self._explanation.computed = computed
            return
        price, price_date = await self._unit_price()
        rate, rate_date = await self._rate(position["local_currency"], position["base_currency"])
        local = (quantity * price).quantize(_PLACES[10])
        base = (local * rate).quantize(_PLACES[10])
        local_currency, base_currency = position["local_currency"], position["base_currency"]
        self._say(
            f"Market value, local: {plain(quantity)} x {plain(price)} = {plain(local)} {local_currency}"
        )
        self._say(f"Market value: {plain(local)} x {plain(rate)} = {plain(base)} {base_currency}")
        self._say(
            f"Unrealized gain, local: {plain(local)} - {plain(cost_local)} = {plain(local - cost_local)} {local_currency}"
        )
        self._say(
            f"Unrealized gain: {plain(base)} - {plain(cost)} = {plain(base - cost)} {base_currency}"
        )
        if max(map(abs, (price, local, base, local - cost_local, base - cost))) >= LIMIT:
            raise _Missing(f"{FailureReason.OVERFLOW} {self._explanation.security_id} {day}")
        effect = ((local - cost_local) * rate).quantize(_PLACES[10])
        self._say(
            f"Of which price {plain(effect)} and FX {plain(base - cost - effect)} {base_currency}"
        )
        computed.update(
            price=price,
            price_date=price_date,
            fx_rate=rate,
            fx_date=rate_date,
            market_value_local=local,
            market_value=base,
            unrealized_gain_local=local - cost_local,
            unrealized_gain=base - cost,
        )
        self._explanation.computed = computed

    async def _unit_price(self) -> tuple[Decimal, date]:
        position, day, security = self._key, self._day, self._explanation.security_id
        quote = await sql("explain_price").row(
            self._connection, security=security, calendar=position["calendar_id"], date=day
        )
        if quote is None:
            raise _Missing(f"PRICE_MISSING {security} {day}")
        self._say(
            f"Price: {plain(quote['price'])} {quote['currency']} {quote['quote_basis']} of {quote['price_date']}, "
            f"{quote['age_business_days']} business days old (limit {position['max_price_age_sessions']})"
        )
        if (
            quote["age_business_days"] > position["max_price_age_sessions"]
            or quote["price_date"] < position["first_business_date"]
        ):
            raise _Missing(f"PRICE_TOO_OLD {security} {day}")
        factor = Decimal(1)
        if quote["quote_basis"] == "PERCENT_OF_PAR":
            factor = Decimal("0.01")
        elif quote["quote_basis"] == "PER_CONTRACT":
            if position["contract_multiplier"] is None:
                raise _Missing(f"CONTRACT_MULTIPLIER_MISSING {security} {day}")
            factor = position["contract_multiplier"]
        price = (quote["price"] * factor / quote["units_per_major"]).quantize(_PLACES[18])
        major, local = quote["major_currency"], position["local_currency"]
        if price != quote["price"]:
            self._say(
                f"Unit price: {plain(quote['price'])} x {plain(factor)} / {quote['units_per_major']} = {plain(price)} {major}"
            )
        if major != local:
            rate, _ = await self._rate(major, local)
            converted = (price * rate).quantize(_PLACES[18])
            self._say(
                f"Unit price, local: {plain(price)} x {plain(rate)} = {plain(converted)} {local}"
            )
            price = converted
        return price, quote["price_date"]

    async def _rate(self, source: str, target: str) -> tuple[Decimal, date | None]:
        if source == target:
            self._say(f"FX: {source} to itself is 1")
            return Decimal(1), None
        direct = await self._leg(source, target)
        if direct is not None:
            return direct
        pivot = self._key["fx_pivot_currency"]
        if pivot not in (source, target):
            first, second = await self._leg(source, pivot), await self._leg(pivot, target)
            if first is not None and second is not None:
                rate = (first[0] * second[0]).quantize(_PLACES[18])
                self._say(
                    f"FX {source}/{target}: {plain(first[0])} x {plain(second[0])} = {plain(rate)}, crossed through {pivot}"
                )
                return rate, min(first[1], second[1])
        raise _Missing(f"FX_MISSING {source}/{target} {self._day}")

    async def _leg(self, source: str, target: str) -> tuple[Decimal, date] | None:
        for base, quote, path in ((source, target, "direct"), (target, source, "inverse")):
            row = await sql("explain_rate").row(
                self._connection,
                base=base,
                quote=quote,
                calendar=self._key["calendar_id"],
                date=self._day,
            )
            if row is None:
                continue
            seen = f"{plain(row['rate'])} of {row['rate_date']}, {row['age_business_days']} business days old"
            limit = self._key["fx_max_age_sessions"]
            if (
                row["age_business_days"] > limit
                or row["rate_date"] < self._key["first_business_date"]
            ):
                self._say(f"FX {base}/{quote}: {seen}: older than the limit of {limit}, not used")
                continue
            rate = row["rate"] if path == "direct" else (1 / row["rate"]).quantize(_PLACES[18])
            self._say(
                f"FX {source}/{target}: {path}, {base}/{quote} {seen}"
                + ("" if path == "direct" else f" = {plain(rate)}")
            )
            return rate, row["rate_date"]
        return None

    def _say(self, step: str) -> None:
        self._explanation.steps.append(step)


def plain(number: Decimal) -> str:
    """The number with thousands separators and without trailing zeros."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
