"""Correcting one price, one rate or one position, as a person does: what was, what is now, what it reaches."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Context, Decimal

import polars as pl

from revalue.engine import logs
from revalue.engine.correct.ingest import COLUMNS, Kind, LoadResult, load
from revalue.engine.correct.parsing import Input, read
from revalue.engine.errors import InvalidInputError, NotFoundError
from revalue.engine.postgres.database import Connections, OpenTransaction
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_log = logs.logger("corrections")


@dataclass(frozen=True)
class Correction:
    """what was corrected; the old and new value as text; the trigger it left and the number of positions that it can reach (at
    most), with its dates. trigger_id is None when nothing scheduled can have changed. portfolio, security: of what it is."""

    what: str
    old: str
    new: str
    trigger_id: int | None
    positions: int
    dates: str
    portfolio: str | None = None
    security: str | None = None


@dataclass(frozen=True)
class FileCorrection:
    """What a file of corrections did: rows by what became of them, its triggers, and how many positions they can reach (at most;
    for positions: how many were corrected)."""

    kind: str
    rows: int
    changed: int
    unchanged: int
    trigger_ids: tuple[int, ...]
    positions: int


async def price(database: Connections, security: str, day: date, new: Decimal) -> Correction:
    """Replaces a stored price. Raises NotFoundError when there is none for the date, InvalidInputError if not positive."""
    _require_positive(new, "price", 10)
    async with database.transaction() as connection:
        row = await connection.fetchrow(
            "SELECT price, currency, quote_basis FROM market_prices WHERE security_id = $1 AND price_date = $2 FOR UPDATE",
            security,
            day,
        )
        if row is None:
            raise NotFoundError(
                f"security {security!r} has no price dated {day}: load it with `revalue load prices`"
            )
        await connection.execute(
            "UPDATE market_prices SET price = $3 WHERE security_id = $1 AND price_date = $2",
            security,
            day,
            new,
        )
        unit = f"{row['currency']} {row['quote_basis']}"
        made = await _described(
            connection, f"price of {security} on {day} ({unit})", row["price"], new
        )
        return replace(made, security=security)


async def rate(database: Connections, base: str, quote: str, day: date, new: Decimal) -> Correction:
    """Replaces a stored rate. Raises NotFoundError when there is none for the date, InvalidInputError if not positive."""
    _require_positive(new, "rate", 18)
    async with database.transaction() as connection:
        old = await connection.fetchval(
            "SELECT rate FROM fx_rates WHERE base_currency = $1 AND quote_currency = $2 AND rate_date = $3 FOR UPDATE",
            base,
            quote,
            day,
        )
        if old is None:
            raise NotFoundError(
                f"pair {base}/{quote} has no rate dated {day}: load it with `revalue load fx_rates`"
            )
        await connection.execute(
            "UPDATE fx_rates SET rate = $4 WHERE base_currency = $1 AND quote_currency = $2 AND rate_date = $3",
            base,
            quote,
            day,
            new,
        )
        return await _described(connection, f"rate {base}/{quote} on {day}", old, new)


async def position(
    database: Connections,
    portfolio: str,
    security: str,
    day: date,
    quantity: Decimal,
    cost_local: Decimal,
    cost: Decimal,
) -> Correction:
    """Puts in the fact of one date, keeping later ones. Raises InvalidInputError."""
    facts = pl.DataFrame(
        {
            "portfolio_id": [portfolio],
            "security_id": [security],
            "position_date": [day],
            "quantity": [f"{quantity:f}"],
            "cost_basis_local": [f"{cost_local:f}"],
            "cost_basis": [f"{cost:f}"],
        }
    )
    loaded = await load(database, Kind.POSITIONS, facts, merge=True)
    what, new = f"position {portfolio} / {security} from {day}", f"quantity {quantity}"
    if not loaded.positions_corrected:
        return Correction(what, "-", new, None, 0, "", portfolio, security)
    async with database.connection() as connection:
        trigger = await connection.fetchrow(
            """SELECT t.trigger_id, t.dates::text FROM position_state p JOIN reprocessing_triggers t USING (trigger_id)
               WHERE p.portfolio_id = $1 AND p.security_id = $2""",
            portfolio,
            security,
        )
    assert trigger is not None
    return Correction(
        what, "-", new, trigger["trigger_id"], 1, trigger["dates"], portfolio, security
    )


async def file(database: Connections, source: Input) -> FileCorrection:
    """Corrects every price, rate or position of a file, or none: it has the columns of the file that loads them.

    A price or rate that is not stored cannot be corrected; later facts of a position stay. Raises what `load` raises.
    """
    given = read(source)
    kind = _kind_of(given.frame.columns)
    async with database.transaction() as connection:
        loaded = await load(OpenTransaction(connection), kind, given, merge=True, replacing=True)
        reach = await sql("reach").row(connection)
    assert reach is not None
    positions = loaded.positions_corrected if kind is Kind.POSITIONS else reach["positions"]
    return FileCorrection(
        kind.value,
        loaded.rows,
        _changed(loaded),
        loaded.unchanged,
        tuple(reach["trigger_ids"]),
        positions,
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


def _changed(loaded: LoadResult) -> int:
    """Facts that were put in or taken out, and values that were replaced."""
    return loaded.inserted + loaded.changed + loaded.removed


async def _described(connection: Connection, what: str, old: Decimal, new: Decimal) -> Correction:
    """Finds the trigger that the write has left in this very transaction."""
    trigger = None
    if old != new:
        trigger = await sql("reach").row(connection)
    if trigger is None or not trigger["positions"]:
        return Correction(what, f"{old:f}", f"{new:f}", None, 0, "")
    return Correction(
        what,
        f"{old:f}",
        f"{new:f}",
        trigger["trigger_ids"][0],
        trigger["positions"],
        trigger["dates"],
    )


def log_correction(made: Correction | FileCorrection) -> None:
    """Logs a correction that is committed: with it begins whatever else bears its triggers' ids."""
    if isinstance(made, FileCorrection):
        triggers = logs.ranges((trigger, trigger) for trigger in made.trigger_ids)
        _log.info(
            "file corrected",
            kind=made.kind,
            rows=made.rows,
            changed=made.changed,
            trigger=triggers,
            positions=made.positions,
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
        dates=made.dates,
        **given,
    )


def _require_positive(number: Decimal, what: str, places: int) -> None:
    if not number.is_finite() or number <= 0:
        raise InvalidInputError(f"a {what} is positive, not {number}")
    exponent = number.normalize(Context(prec=60)).as_tuple().exponent
    assert isinstance(exponent, int), "the sign was checked: it is a number"
    if -exponent > places or number.adjusted() >= 28 - places:
        raise InvalidInputError(
            f"a {what} has at most {28 - places} digits before and {places} after the point, not {number}"
        )
