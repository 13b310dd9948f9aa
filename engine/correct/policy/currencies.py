"""Currencies, and the units in which prices are quoted: pence, cents, ounces."""

import re
from dataclasses import dataclass

from revalue.engine.errors import CorrectionRefusedError, InvalidInputError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_CODE = re.compile("[A-Z][A-Z][A-Za-z]")
_MOST_UNITS = 10**9


@dataclass(frozen=True)
class Currency:
    """A currency, or a quotation unit of one.

    Attributes:
        currency: its code.
        major_currency: the currency that it is a unit of; of a currency, itself.
        units_per_major: how many of it are one unit of that currency; of a currency, 1.
    """

    currency: str
    major_currency: str
    units_per_major: int


async def list_currencies(database: Connections) -> list[Currency]:
    """Return all currencies and quotation units, each currency before its units."""
    async with database.connection() as connection:
        rows = await sql("list_currencies").fetch(connection)
    return [Currency(*row) for row in rows]


async def add_currency(
    database: Connections, code: str, *, unit_of: str | None = None, units: int = 1
) -> bool:
    """Add a currency, or a quotation unit of one. One that is there already as given stays.

    Args:
        database: the database.
        code: three letters, the first two of them capitals.
        unit_of: the currency of which it is a quotation unit; None: it is a currency.
        units: how many of it are one unit of that currency: a power of ten.

    Returns:
        Whether it is new.

    Raises:
        InvalidInputError: `code` or `units` is invalid, or `unit_of` is not a currency.
        CorrectionRefusedError: the code exists with another meaning.
        AccessDeniedError: only the owner of the tables may add one.
    """
    _require_code(code)
    wanted = Currency(code, code if unit_of is None else unit_of, units)
    _require_units(wanted, is_unit=unit_of is not None)
    async with database.transaction() as connection:
        if unit_of is not None:
            await require_major(connection, unit_of, f"the currency of {code}")
        found = await sql("read_currency").row(connection, currency=code)
        if found is None:
            await sql("insert_currency").execute(
                connection, currency=code, major=wanted.major_currency, units=units
            )
            return True
    stored = Currency(*found)
    if stored != wanted:
        raise CorrectionRefusedError(
            f"{code} is there already, and {_meaning(stored)}, not {_meaning(wanted)}: give the "
            "new one another code"
        )
    return False


async def require_major(connection: Connection, code: str, what: str) -> None:
    """Require a currency that is no quotation unit.

    Args:
        connection: reads the currencies.
        code: its code.
        what: what it is to be, for the message.

    Raises:
        InvalidInputError: the code is unknown, or is that of a quotation unit.
    """
    found = await sql("read_currency").row(connection, currency=code)
    if found is None:
        raise InvalidInputError(
            f"{what}: there is no currency {code!r}: `revalue currencies` lists them, and "
            "`revalue currencies add` adds one"
        )
    if found["units_per_major"] > 1:
        raise InvalidInputError(
            f"{what}: {code} is a quotation unit of {found['major_currency']}, not a currency of "
            "its own"
        )


def _require_code(code: str) -> None:
    if not _CODE.fullmatch(code):
        raise InvalidInputError(
            f"{code!r} is no code of a currency: it has three letters, the first two of them "
            "capitals, as XAU, BTC or KWf. Give a longer one a short code of your own, as USDT "
            "the code UST"
        )


def _require_units(wanted: Currency, *, is_unit: bool) -> None:
    if not is_unit:
        if wanted.units_per_major != 1:
            raise InvalidInputError(
                f"{wanted.units_per_major:,} {wanted.currency} are one unit of which currency? "
                "Name it by --unit-of (in Python unit_of)"
            )
        return
    powers = {10**n for n in range(1, 10)}
    if wanted.units_per_major not in powers or wanted.currency == wanted.major_currency:
        raise InvalidInputError(
            f"a quotation unit is a power of ten from 10 to {_MOST_UNITS:,} of another currency, "
            f"not {wanted.units_per_major:,} {wanted.currency} = 1 {wanted.major_currency}"
        )


def _meaning(currency: Currency) -> str:
    if currency.units_per_major == 1:
        return "a currency"
    return f"{currency.units_per_major:,} of it are 1 {currency.major_currency}"
