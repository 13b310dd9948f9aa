"""Correct one price, one rate or one position, or a file of them.

A correction replaces or deletes stored data. The database records it as a trigger; scheduling and
valuing restate the affected position-days later.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal

import polars as pl

from revalue.engine import logs
from revalue.engine.core.date_ranges import DateRange, date_ranges
from revalue.engine.correct.authors import Author, as_logged
from revalue.engine.correct.ingest import COLUMNS, Kind, load
from revalue.engine.correct.policy import PolicyCorrection
from revalue.engine.correct.problems import RejectedInputError
from revalue.engine.correct.sources import Input, read
from revalue.engine.correct.splits import SplitCorrection
from revalue.engine.errors import InvalidInputError, NotFoundError
from revalue.engine.postgres.database import Connections, OpenTransaction
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_log = logs.logger("corrections")

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
    """

    what: str
    old: str | None
    new: str | None
    trigger_id: int | None
    positions: int
    dates: tuple[DateRange, ...] = ()
    portfolio: str | None = None
    security: str | None = None


@dataclass(frozen=True)
class FileCorrection:
    """The corrections of one file, made in one transaction.

    Attributes:
        kind: prices, fx_rates or positions.
        rows: rows of the file.
        changed: how many prices or rates were replaced, or position records inserted or changed.
        unchanged: rows that are stored as they are given.
        trigger_ids: the triggers that record the corrections.
        positions: how many positions they affect at most; of a file of positions: how many
            positions were corrected.
    """

    kind: str
    rows: int
    changed: int
    unchanged: int
    trigger_ids: tuple[int, ...]
    positions: int


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
        return await _correction(connection, what, old, new, security=security)


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
        return await _correction(connection, what, old, new)


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
        if trigger is None:
            return Correction(what, old, new, None, 0, portfolio=portfolio, security=security)
        dates = date_ranges(await sql("trigger_dates").value(connection, trigger=trigger))
    return Correction(what, old, new, trigger, 1, dates, portfolio, security)


async def file(database: Connections, source: Input) -> FileCorrection:
    """Correct every price, rate or position record of a file, or none of them.

    The file has the columns of a file that loads prices, fx_rates or positions. A price or rate
    that is not stored cannot be corrected; later records of a position stay.

    Raises:
        InvalidInputError: the input has other columns, or rows that break a rule (.problems).
        CorrectionRefusedError, TransientError: as `load`.
    """
    given = read(source)
    kind = _kind_of(given.columns)
    async with database.transaction() as connection:
        loaded = await load(OpenTransaction(connection), kind, given, must_exist=True)
        if kind is Kind.POSITIONS:
            reached = loaded.positions_corrected
            triggers = () if loaded.trigger_id is None else (loaded.trigger_id,)
        else:
            reach = await sql("reach").one(connection)
            reached, triggers = reach["positions"], tuple(reach["trigger_ids"])
    return FileCorrection(
        kind=kind.value,
        rows=loaded.rows,
        changed=loaded.inserted + loaded.changed,
        unchanged=loaded.unchanged,
        trigger_ids=triggers,
        positions=reached,
    )


@dataclass(frozen=True)
class Together:
    """Corrections that were made in one transaction.

    Attributes:
        made: what was corrected, in the order in which it was asked for. Of these, `trigger_id`,
            `positions` and `dates` are of all corrections that were made before it, too.
        trigger_ids: the triggers that record them; empty: no value that exists can have changed.
        positions: how many positions they affect at most. Each counts once.
    """

    made: tuple[Correction, ...]
    trigger_ids: tuple[int, ...]
    positions: int


@dataclass(frozen=True)
class Change:
    """One correction that is to be made together with others.

    Attributes:
        row: the kind and the key of what it locks.
        make: makes it.
    """

    row: tuple[str, ...]
    make: Callable[[Connections], Awaitable[Correction]]


async def together(inside: OpenTransaction, changes: Sequence[Change]) -> Together:
    """Make corrections one after the other in an open transaction.

    They are made in the order of their rows, so that two transactions which correct the same rows
    wait for each other and do not deadlock. Those of one row are made as they are asked for.

    Args:
        inside: the transaction; it has corrected nothing yet.
        changes: the corrections.

    Raises:
        RevalueError: what a change raises. The transaction is then to be rolled back.
    """
    in_order = sorted(range(len(changes)), key=lambda place: changes[place].row)
    at_place = {place: await changes[place].make(inside) for place in in_order}
    made = tuple(at_place[place] for place in range(len(changes)))
    # A correction of a position has invalidated it: its trigger is not among those that reach.
    of_positions = [each for each in made if each.portfolio is not None and each.trigger_id]
    async with inside.connection() as connection:
        reach = await sql("reach_together").one(
            connection,
            portfolios=[each.portfolio for each in of_positions],
            securities=[each.security for each in of_positions],
        )
    triggers = {each.trigger_id for each in of_positions if each.trigger_id is not None}
    return Together(made, tuple(sorted(triggers.union(reach["trigger_ids"]))), reach["positions"])


def log_together(made: Together, author: Author) -> None:
    """Log committed corrections. Later log lines share their trigger ids."""
    _log.info(
        "corrected together",
        what=[f"{each.what}: {each.old} -> {each.new}" for each in made.made],
        trigger=logs.ranges((trigger, trigger) for trigger in made.trigger_ids),
        positions=made.positions,
        **as_logged(author),
    )


def log_correction(
    made: Correction | FileCorrection | SplitCorrection | PolicyCorrection,
    author: Author | None = None,
) -> None:
    """Log a committed correction, and who has made it. Later log lines share its trigger ids."""
    by = as_logged(author)
    if isinstance(made, PolicyCorrection):
        _log.info(
            "policy changed",
            pivot=made.new.pivot,
            fx_max_age=made.new.fx_max_age,
            trigger=logs.ranges((trigger, trigger) for trigger in made.trigger_ids),
            **by,
        )
        return
    if isinstance(made, SplitCorrection):
        _log.info(
            "split made",
            security=made.security,
            date=str(made.date),
            ratio=made.ratio,
            holders=made.holders,
            load=made.load_id,
            trigger=logs.ranges((trigger, trigger) for trigger in made.trigger_ids),
            **by,
        )
        return
    if isinstance(made, FileCorrection):
        triggers = logs.ranges((trigger, trigger) for trigger in made.trigger_ids)
        _log.info(
            "file corrected",
            kind=made.kind,
            rows=made.rows,
            changed=made.changed,
            trigger=triggers,
            positions=made.positions,
            **by,
        )
        return
    ids = {"portfolio": made.portfolio, "security": made.security, "trigger": made.trigger_id}
    given = {name: value for name, value in ids.items() if value is not None}
    _log.info(
        "corrected",
        what=made.what,
        old=made.old,
        new=made.new,
        positions=made.positions,
        dates=[str(each) for each in made.dates],
        **given,
        **by,
    )


def _kind_of(columns: list[str]) -> Kind:
    correctable = (Kind.PRICES, Kind.FX_RATES, Kind.POSITIONS)
    for kind in correctable:
        if {column.name for column in COLUMNS[kind] if column.required} <= set(columns):
            return kind
    wanted = "; ".join(
        f"{kind.value}: {', '.join(column.name for column in COLUMNS[kind])}"
        for kind in correctable
    )
    raise InvalidInputError(
        f"a file of corrections has the columns of one of these kinds: {wanted}"
    )


async def _locked_price(
    connection: Connection, security: str, day: date, what_to_do: str
) -> tuple[str, Decimal]:
    """Lock a stored price; return what it is, in words, and the price."""
    old = await sql("lock_price").row(connection, security=security, date=day)
    if old is None:
        if not await sql("security_exists").value(connection, security=security):
            raise NotFoundError(f"there is no security {security!r}")
        raise NotFoundError(f"security {security!r} has no price dated {day}: {what_to_do}")
    what = f"price of {security} on {day} ({old['currency']} {old['quote_basis']})"
    return what, old["price"]


async def _locked_rate(
    connection: Connection, base: str, quote: str, day: date, what_to_do: str
) -> tuple[str, Decimal]:
    """Lock a stored rate; return what it is, in words, and the rate."""
    old = await sql("lock_rate").value(connection, base=base, quote=quote, date=day)
    if old is None:
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
) -> Correction:
    """Return the correction of a price or rate, with the trigger that this transaction wrote."""
    was, becomes = f"{old:f}", None if new is None else f"{new:f}"
    if old != new:
        reach = await sql("reach").one(connection)
        if reach["positions"]:
            return Correction(
                what,
                was,
                becomes,
                reach["trigger_ids"][0],
                reach["positions"],
                date_ranges(reach["dates"]),
                security=security,
            )
    return Correction(what, was, becomes, None, 0, security=security)


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
