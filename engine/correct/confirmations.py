"""Confirm a price or rate that moved far, so that it is not told again.

A confirmation is of one value, as readers see it: per unit and in the currency of the security, or
base currency per local currency. When another value is shown on that date, it is told again.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from revalue.engine import logs
from revalue.engine.correct.authors import Author
from revalue.engine.errors import InvalidInputError, NotFoundError
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_log = logs.logger("confirmations")
_PLACES = 18


class Confirmable(StrEnum):
    """What can be confirmed."""

    PRICE = "PRICE"
    RATE = "RATE"


async def confirm(
    database: Connections,
    kind: Confirmable,
    subject: str,
    day: date,
    value: Decimal,
    author: Author,
) -> bool:
    """Confirm a price or rate. A confirmation of another value is withdrawn.

    Args:
        database: where it is stored.
        kind: what is confirmed.
        subject: a security, or a pair of currencies LOCAL/BASE.
        day: the business date on which it is shown.
        value: the price per unit or the rate, as it is shown.
        author: who confirms it, and why.

    Returns:
        Whether it was not confirmed before. Who has confirmed it first, and why, stays.

    Raises:
        NotFoundError: there is no such security or currency.
        InvalidInputError: the value cannot be a price or rate.
    """
    _require_storable(value)
    async with database.transaction() as connection:
        await _require_existing(connection, kind, subject)
        given = {"kind": kind.value, "subject": subject, "date": day, "who": author.who}
        await sql("withdraw_confirmation").execute(connection, **given, kept_value=value)
        added = await sql("insert_confirmation").value(
            connection, **given, value=value, why=author.why
        )
    if added is not None:
        _log.info(
            "confirmed",
            kind=kind.value,
            of=subject,
            date=str(day),
            value=f"{value:f}",
            by=author.who,
        )
    return added is not None


async def unconfirm(
    database: Connections, kind: Confirmable, subject: str, day: date, author: Author
) -> Decimal:
    """Withdraw a confirmation: the price or rate is told again.

    Args:
        database, kind, subject, day: as of `confirm`.
        author: who withdraws it.

    Returns:
        The value that was confirmed.

    Raises:
        NotFoundError: none is in force.
    """
    async with database.transaction() as connection:
        value: Decimal | None = await sql("withdraw_confirmation").value(
            connection,
            kind=kind.value,
            subject=subject,
            date=day,
            who=author.who,
            kept_value=None,
        )
    if value is None:
        raise NotFoundError(f"no {kind.value.lower()} of {subject} on {day} is confirmed")
    _log.info(
        "unconfirmed",
        kind=kind.value,
        of=subject,
        date=str(day),
        value=f"{value:f}",
        by=author.who,
    )
    return value


async def _require_existing(connection: Connection, kind: Confirmable, subject: str) -> None:
    if kind is Confirmable.PRICE:
        if not await sql("security_exists").value(connection, security=subject):
            raise NotFoundError(f"there is no security {subject!r}")
        return
    local, _, base = subject.partition("/")
    unknown = await sql("unknown_currency").value(connection, local=local, base=base)
    if unknown is not None:
        raise NotFoundError(f"there is no currency {unknown!r}: give a pair LOCAL/BASE")


def _require_storable(value: Decimal) -> None:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > _PLACES or value.adjusted() >= 38 - _PLACES:
        raise InvalidInputError(
            f"a price or rate has at most {38 - _PLACES} digits before and {_PLACES} after the "
            f"point, not {value}"
        )
