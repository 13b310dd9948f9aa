"""Explain one number: its inputs, the arithmetic step by step, and whether the stored row agrees.

The row is computed by engine.read.row_valuation, which is independent of the vectorised core.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from revalue.engine.core.date_ranges import date_ranges
from revalue.engine.lake.lake import Lake
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.read.book_data import read_date
from revalue.engine.read.refusals import never_held
from revalue.engine.read.row_valuation import (
    DIRECT,
    Book,
    ExpectedRow,
    Hole,
    Rate,
    Rates,
    position_rows,
)
from revalue.engine.read.rows_of_both_stores import row_of_both

sql = statements(__package__)

_CALENDAR = ("opened_through", "first_business_date", "last_business_date", "business_dates")
_COMPARED = ExpectedRow._fields[ExpectedRow._fields.index("quantity") :]


@dataclass
class Explanation:
    """Why a number is what it is.

    Attributes:
        portfolio_id: the portfolio.
        security_id: the security.
        date: the date.
        position: state, epochs, currencies and limits of the position.
        steps: what was looked up and computed, in order, one sentence each.
        computed: the columns of position_valuations from quantity to valuation_status, recomputed
            from the present data; empty if no row is due, or if data is missing.
        missing: the failure reason that a job would have, or None.
        stored: the row that readers see, with its epoch, job and trigger, or None.
        differences: column -> (stored, recomputed); empty if they agree.
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
        """What the comparison of the stored row with the recomputed one says.

        AGREES or DISAGREES; REPROCESSING: the stored row is not what the data give now, and the
        position is marked so; MISSING: nothing is stored, as an input is missing (see `missing`);
        NOT_VALUED_YET; NOT_DUE.
        """
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
    """An input is missing, or the number is too large; the message is the failure reason."""


async def explain(database: Database, portfolio: str, security: str, day: date) -> Explanation:
    """Recompute the value of a position on a date, and compare it with the stored row.

    Everything is read in one snapshot.

    Raises:
        NotFoundError: the portfolio has never held the security.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        position = await sql("explain_position").row(
            connection, portfolio=portfolio, security=security, date=day
        )
        if position is None:
            raise await never_held(connection, portfolio, security)
        stored = await _stored(connection, dict(position), portfolio, security, day)
        book = await read_date(connection, portfolio, security, day, position)
    calendar = {name: position[name] for name in _CALENDAR}
    shown = {name: value for name, value in position.items() if name not in _CALENDAR}
    explanation = Explanation(portfolio, security, day, shown)
    if stored is not None:
        explanation.stored = stored
    not_due = _not_due(day, shown["calendar_id"], **calendar)
    if not_due is None:
        _recompute(explanation, book)
    else:
        explanation.steps.append(f"{not_due}: no row is due")
    if explanation.stored and explanation.computed:
        explanation.differences = {
            name: (explanation.stored[name], explanation.computed[name])
            for name in _COMPARED
            if explanation.stored[name] != explanation.computed[name]
        }
    return explanation


async def _stored(
    connection: Connection,
    position: dict[str, Any],
    portfolio: str,
    security: str,
    day: date,
) -> dict[str, Any] | None:
    """Return the row that readers see, wherever it is stored, with its job and trigger."""
    found = await sql("explain_stored").row(
        connection, portfolio=portfolio, security=security, date=day
    )
    row = None if found is None else dict(found)
    lake = await Lake.of(connection)
    if lake is not None:
        row = await row_of_both(connection, lake, row, position, portfolio, security, day)
    if row is None:
        return None
    job = await sql("explain_job").one(
        connection, job=row["job_id"], position=row["position_id"], date=day
    )
    return {**row, **job, "trigger_dates": date_ranges(job["trigger_dates"] or ())}


def _not_due(
    day: date,
    calendar_id: str,
    *,
    opened_through: date | None,
    first_business_date: date | None,
    last_business_date: date | None,
    business_dates: list[date],
) -> str | None:
    """Say why no row of a calendar is due on a day; None: one can be."""
    calendar = f"calendar {calendar_id}"
    if first_business_date is None or last_business_date is None:
        return f"{calendar} has no business days"
    if day < first_business_date:
        return f"{day} is before the first business day of {calendar}, {first_business_date}"
    if day > last_business_date:
        return (
            f"{day} is after the last business day of {calendar} that is loaded, "
            f"{last_business_date}"
        )
    if day not in business_dates[-1:]:
        return f"{day} is not a business day of {calendar}"
    if opened_through is None:
        return f"{day} is not opened yet: nothing of {calendar} is opened"
    if day > opened_through:
        return f"{day} is not opened yet: {calendar} is opened through {opened_through}"
    return None


def _recompute(explanation: Explanation, book: Book) -> None:
    position = (explanation.portfolio_id, explanation.security_id)
    rates = Rates(book, _Sentences(explanation, book))
    found = next(position_rows(book, rates, position, only=explanation.date), None)
    match found:
        case None:
            explanation.steps.append(
                f"The position is not open on {explanation.date}: no row is due"
            )
        case Hole():
            explanation.missing = found.reason
            explanation.steps.append(f"No number: {found.reason}")
        case ExpectedRow():
            explanation.computed = {name: getattr(found, name) for name in _COMPARED}


class _Sentences:
    """The Narrator that writes each step as a sentence."""

    def __init__(self, explanation: Explanation, book: Book) -> None:
        self._steps = explanation.steps
        self._position = explanation.position
        self._local = explanation.position["local_currency"]
        self._base = explanation.position["base_currency"]
        self._book = book
        self._major = self._local

    def record(self, day: date, quantity: Decimal, cost_local: Decimal, cost: Decimal) -> None:
        self._say(
            f"Position: the record of {day}: quantity {formatted(quantity)}, cost basis "
            f"{formatted(cost_local)} {self._local}, {formatted(cost)} {self._base} "
            f"(history of epoch {self._position['history_epoch']})"
        )

    def flat(self) -> None:
        self._say("Quantity 0: values and gains are exactly 0; no price and no rate is needed")

    def price(
        self, price: Decimal, currency: str, basis: str, day: date, age: int, first: date
    ) -> None:
        self._major = self._book.currencies[currency][0]
        limit = self._position["max_price_age_sessions"]
        self._say(
            f"Price: {formatted(price)} {currency} {basis} of {day}, "
            + (
                f"{_aged(age)} (limit {limit})"
                if day >= first
                else f"{self._before(first)}, so it counts as older than the limit of {limit}"
            )
        )

    def unit_price(self, price: Decimal, factor: Decimal, units: int, unit: Decimal) -> None:
        if unit != price:
            self._say(
                f"Unit price: {formatted(price)} x {formatted(factor)} / {units} = "
                f"{formatted(unit)} {self._major}"
            )

    def converted(self, unit: Decimal, rate: Decimal, price: Decimal) -> None:
        self._say(
            f"Unit price, local: {formatted(unit)} x {formatted(rate)} = "
            f"{formatted(price)} {self._local}"
        )

    def same(self, currency: str) -> None:
        self._say(f"FX: {currency} to itself is 1")

    def too_old(
        self, pair: tuple[str, str], rate: Decimal, day: date, age: int, first: date
    ) -> None:
        limit = self._book.fx_max_age
        self._say(
            f"FX {'/'.join(pair)}: {formatted(rate)} of {day}, "
            + (
                f"{_aged(age)}: older than the limit of {limit}, not used"
                if day >= first
                else f"{self._before(first)}, so it counts as older than the limit of {limit}: "
                "not used"
            )
        )

    def leg(
        self,
        source: str,
        target: str,
        leg: Rate,
        quoted: tuple[tuple[str, str], Decimal, date, int],
    ) -> None:
        pair, rate, day, age = quoted
        is_direct = leg.path == DIRECT
        self._say(
            f"FX {source}/{target}: {'direct' if is_direct else 'inverse'}, {'/'.join(pair)} "
            f"{formatted(rate)} of {day}, {_aged(age)}"
            + ("" if is_direct else f" = {formatted(leg.value)}")
        )

    def cross(self, source: str, target: str, first: Rate, second: Rate, value: Decimal) -> None:
        self._say(
            f"FX {source}/{target}: {formatted(first.value)} x {formatted(second.value)} = "
            f"{formatted(value)}, crossed through {self._book.fx_pivot}"
        )

    def values(
        self,
        price: Decimal,
        rate: Decimal,
        value_local: Decimal,
        value: Decimal,
        gain_local: Decimal,
        gain: Decimal,
    ) -> None:
        (record,) = (records[-1] for records in self._book.records.values())
        _, quantity, cost_local, cost = record
        self._say(
            f"Market value, local: {formatted(quantity)} x {formatted(price)} = "
            f"{formatted(value_local)} {self._local}"
        )
        self._say(
            f"Market value: {formatted(value_local)} x {formatted(rate)} = "
            f"{formatted(value)} {self._base}"
        )
        self._say(
            f"Unrealized gain, local: {formatted(value_local)} - {formatted(cost_local)} = "
            f"{formatted(gain_local)} {self._local}"
        )
        self._say(
            f"Unrealized gain: {formatted(value)} - {formatted(cost)} = "
            f"{formatted(gain)} {self._base}"
        )

    def out_of_range(self, what: str, value: Decimal) -> None:
        self._say(
            f"{what}: more than 18 digits before the point, which do not fit"
            if value
            else f"{what}: rounded to 0, which counts as none"
        )

    def effects(self, price_effect: Decimal, fx_effect: Decimal) -> None:
        self._say(
            f"Of which price {formatted(price_effect)} and FX {formatted(fx_effect)} {self._base}"
        )

    def _before(self, first: date) -> str:
        """Say that a date is before the calendar begins, so that its age cannot be counted."""
        return f"before the first business day of calendar {self._position['calendar_id']}, {first}"

    def _say(self, step: str) -> None:
        self._steps.append(step)


def _aged(age: int) -> str:
    return f"{age} business day{'' if age == 1 else 's'} old"


def formatted(number: Decimal) -> str:
    """Return the number with thousands separators and without trailing zeros."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
