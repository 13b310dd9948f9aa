"""Correct one price, one rate or one position.

A correction replaces or deletes stored data. The database records it as a trigger; scheduling and
valuing restate the affected position-days later.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal

import polars as pl

from revalue.engine.core.date_ranges import DateRange
from revalue.engine.correct.corrections.large_moves import (
    price_move_warnings,
    rate_move_warnings,
)
from revalue.engine.correct.inputs.future_dates import future_date_warnings
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.problems import RejectedInputError
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.reach import dates_of, reach
from revalue.engine.correct.securities import require_security
from revalue.engine.errors import InvalidInputError, NotFoundError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_LOAD_PRICE = "load it with `revalue load prices`"
_LOAD_RATE = "load it with `revalue load fx_rates`"
_NOTHING_TO_DELETE = "there is nothing to delete"


@dataclass(frozen=True)
class Correction:
    """One correction that was made.

    Attributes:
        what: what was corrected, in words.
        old: the value before, as text; of a position the record that was in force on its date;
            None: there was none.
        new: the value now, as text; None: it is deleted.
        trigger_id: the trigger that records it; None: no value that exists can have changed.
        positions: how many positions it affects at most.
        dates: the dates that it affects, both ends of each range included; empty without a trigger.
        portfolio: the portfolio of a corrected position.
        security: the security of a corrected price or position.
        warnings: what is strange about the new value, in words: a date in the future, or a price or
            rate that is far from the one before it.
    """

    what: str
    old: str | None
    new: str | None
    trigger_id: int | None
    positions: int
    dates: tuple[DateRange, ...] = ()
    portfolio: str | None = None
    security: str | None = None
    warnings: tuple[str, ...] = ()


async def price(database: Connections, security: str, day: date, new: Decimal) -> Correction:
    """Replace a stored price; its currency and quote basis stay.

    Args:
        database: the database to correct.
        security: the security.
        day: the date of the price.
        new: the price, as quoted: positive, at most 18 digits before and 10 after the point.

    Raises:
        NotFoundError: no price is stored for that date.
        InvalidInputError: the price is not positive or does not fit.
    """
    _require_positive(new, "price", 10)
    async with database.transaction() as connection:
        what, old = await _locked_price(connection, security, day, _LOAD_PRICE)
        await sql("replace_price").execute(connection, security=security, date=day, price=new)
        warnings = (
            *future_date_warnings(Kind.PRICES, day),
            *await price_move_warnings(connection, security, day, new),
        )
        return await _correction(connection, what, old, new, security=security, warnings=warnings)


async def delete_price(database: Connections, security: str, day: date) -> Correction:
    """Delete a stored price: the dates that used it use the price before it, or have none.

    Args:
        database: the database to correct.
        security: the security.
        day: the date of the price.

    Raises:
        NotFoundError: no price is stored for that date.
    """
    async with database.transaction() as connection:
        what, old = await _locked_price(connection, security, day, _NOTHING_TO_DELETE)
        await sql("delete_price").execute(connection, security=security, date=day)
        return await _correction(connection, what, old, None, security=security)


async def rate(database: Connections, base: str, quote: str, day: date, new: Decimal) -> Correction:
    """Replace a stored FX rate: 1 `base` is worth `new` `quote`.

    Args:
        database: the database to correct.
        base: the base currency of the pair.
        quote: the quote currency of the pair.
        day: the date of the rate.
        new: the rate: positive, at most 10 digits before and 18 after the point.

    Raises:
        NotFoundError: no rate is stored for that date.
        InvalidInputError: the rate is not positive or does not fit.
    """
    _require_positive(new, "rate", 18)
    async with database.transaction() as connection:
        what, old = await _locked_rate(connection, base, quote, day, _LOAD_RATE)
        await sql("replace_rate").execute(connection, base=base, quote=quote, date=day, rate=new)
        warnings = (
            *future_date_warnings(Kind.FX_RATES, day),
            *await rate_move_warnings(connection, base, quote, day, new),
        )
        return await _correction(connection, what, old, new, warnings=warnings)


async def delete_rate(database: Connections, base: str, quote: str, day: date) -> Correction:
    """Delete a stored FX rate: the dates that used it use the rate before it, or have none.

    Args:
        database: the database to correct.
        base: the base currency of the pair.
        quote: the quote currency of the pair.
        day: the date of the rate.

    Raises:
        NotFoundError: no rate is stored for that date.
    """
    async with database.transaction() as connection:
        what, old = await _locked_rate(connection, base, quote, day, _NOTHING_TO_DELETE)
        await sql("delete_rate").execute(connection, base=base, quote=quote, date=day)
        return await _correction(connection, what, old, None)


async def position(
    database: Connections,
    portfolio: str,
    security: str,
    day: date,
    quantity: Decimal,
    cost_local: Decimal,
    cost: Decimal,
) -> Correction:
    """Insert or replace the position record of one date; later records stay.

    Args:
        database: the database to correct.
        portfolio: the portfolio.
        security: the security.
        day: from when on the record holds.
        quantity: the absolute quantity; 0 closes the position, then both costs are 0.
        cost_local: the cost basis in the currency of the instrument.
        cost: the cost basis in the base currency of the portfolio.

    Raises:
        InvalidInputError: a name is unknown, or a number does not fit.
    """
    what = f"position {portfolio} / {security} from {day}"
    new = _record_text(quantity, cost_local, cost)
    record = {
        "portfolio_id": portfolio,
        "security_id": security,
        "position_date": day,
        "quantity": f"{quantity:f}",
        "cost_basis_local": f"{cost_local:f}",
        "cost_basis": f"{cost:f}",
    }
    async with database.transaction() as connection:
        old = await _record_in_force(connection, portfolio, security, day)
        try:
            loaded = await load(
                OpenTransaction(connection),
                Kind.POSITIONS,
                pl.DataFrame([record]),
                is_recorded=False,
            )
        except RejectedInputError as error:
            wrong = (f"{each.column} {record[each.column]}: {each.hint}" for each in error.problems)
            raise InvalidInputError(f"{what}: {'; '.join(wrong)}") from error
        trigger = loaded.trigger_id
        dates = () if trigger is None else await dates_of(connection, trigger)
    return Correction(
        what,
        old,
        new,
        trigger,
        positions=0 if trigger is None else 1,
        dates=dates,
        portfolio=portfolio,
        security=security,
        warnings=future_date_warnings(Kind.POSITIONS, day),
    )


async def _locked_price(
    connection: Connection, security: str, day: date, what_to_do: str
) -> tuple[str, Decimal]:
    """Lock a stored price; return its description and the price."""
    old = await sql("lock_price").row(connection, security=security, date=day)
    if old is None:
        await require_security(connection, security)
        raise NotFoundError(f"security {security!r} has no price dated {day}: {what_to_do}")
    what = f"price of {security} on {day} ({old['currency']} {old['quote_basis']})"
    return what, old["price"]


async def _locked_rate(
    connection: Connection, base: str, quote: str, day: date, what_to_do: str
) -> tuple[str, Decimal]:
    """Lock a stored rate; return its description and the rate."""
    old = await sql("lock_rate").value(connection, base=base, quote=quote, date=day)
    if old is None:
        inverse = await sql("lock_rate").value(connection, base=quote, quote=base, date=day)
        if inverse is not None:
            # No advice to load it: a rate of the pair itself would go before the inverse one.
            stored = f"{quote}/{base} {inverse.normalize(Context(prec=60)):f}"
            raise NotFoundError(
                f"pair {base}/{quote} has no rate dated {day}, but its inverse has: {stored}. "
                "Name the pair in that order"
            )
        raise NotFoundError(f"pair {base}/{quote} has no rate dated {day}: {what_to_do}")
    return f"rate {base}/{quote} on {day}", old


async def _record_in_force(
    connection: Connection, portfolio: str, security: str, day: date
) -> str | None:
    """Lock a position; return the record that is in force on a date, in words; None: there is none.

    The second statement reads what the first one has waited for.
    """
    position = await sql("lock_position").value(connection, portfolio=portfolio, security=security)
    record = await sql("record_in_force").row(connection, position=position, date=day)
    if record is None:
        return None
    found, *numbers = record
    return _record_text(*numbers) + ("" if found == day else f" (since {found})")


def _record_text(quantity: Decimal, cost_local: Decimal, cost: Decimal) -> str:
    return f"quantity {quantity:f}, cost_basis_local {cost_local:f}, cost_basis {cost:f}"


async def _correction(
    connection: Connection,
    what: str,
    old: Decimal,
    new: Decimal | None,
    *,
    security: str | None = None,
    warnings: tuple[str, ...] = (),
) -> Correction:
    """Return the correction of a price or rate, with the trigger that this transaction wrote."""
    was, becomes = f"{old:f}", None if new is None else f"{new:f}"
    if old != new:
        found = await reach(connection)
        if found.positions:
            return Correction(
                what,
                was,
                becomes,
                found.trigger_ids[0],
                found.positions,
                found.dates,
                security=security,
                warnings=warnings,
            )
    return Correction(what, was, becomes, None, 0, security=security, warnings=warnings)


def _require_positive(number: Decimal, what: str, places: int) -> None:
    if not number.is_finite() or number <= 0:
        raise InvalidInputError(f"a {what} is positive, not {number}")
    exponent = number.normalize(Context(prec=60)).as_tuple().exponent
    assert isinstance(exponent, int), "the sign was checked: it is a number"
    if -exponent > places or number.adjusted() >= 28 - places:
        raise InvalidInputError(
            f"a {what} has at most {28 - places} digits before and {places} after the point, "
            f"not {number}"
        )
