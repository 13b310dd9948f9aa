"""Confirm a price or rate that moved far, so that it is no longer listed.

A confirmation is of one value, as readers see it (per unit and in the currency of the security, or
base currency per local currency), and of the move from the values that it was compared with. When
another value is shown on that date, or the value is compared with another one, it is listed again.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from revalue.engine import logs
from revalue.engine.correct.authors import Author
from revalue.engine.correct.securities import require_security
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


@dataclass(frozen=True)
class Against:
    """The values before a price or rate from which a confirmation says that the move is right.

    None stands for a price in another currency, which cannot be compared.

    Attributes:
        meant: those that are confirmed now.
        shown: all with which positions are compared, so that what was confirmed of them stays.
    """

    meant: frozenset[Decimal | None]
    shown: frozenset[Decimal | None]


async def confirm(
    database: Connections,
    kind: Confirmable,
    subject: str,
    day: date,
    value: Decimal,
    against: Against,
    author: Author,
) -> bool:
    """Confirm a price or rate. A confirmation of another value is withdrawn.

    One of the same value against other values before is withdrawn, too. The new one includes those
    of them that positions are still compared with.

    Args:
        database: where it is stored.
        kind: what is confirmed.
        subject: a security, or a pair of currencies LOCAL/BASE.
        day: the business date on which it is shown.
        value: the price per unit or the rate, as it is shown.
        against: the values before it.
        author: who confirms it, and why.

    Returns:
        Whether it was not confirmed before. The first confirmation keeps its author and reason.

    Raises:
        NotFoundError: there is no such security or currency.
        InvalidInputError: the value, or one before it, cannot be a price or rate.
    """
    _require_storable(value)
    for each in against.meant:
        if each is not None:
            _require_storable(each)
    async with database.transaction() as connection:
        await _require_existing(connection, kind, subject)
        given = {"kind": kind.value, "subject": subject, "date": day}
        await sql("lock_confirmation").execute(connection, **given)
        found = await sql("confirmation_in_force").row(connection, **given)
        before = against.meant
        if found is not None and found["value"] == value:
            confirmed = frozenset(found["values_before"] or ())
            if found["values_before"] is None or before <= confirmed:
                return False
            before |= confirmed & against.shown
        if found is not None:
            await sql("withdraw_confirmation").value(connection, **given, who=author.who)
        await sql("insert_confirmation").execute(
            connection,
            **given,
            value=value,
            values_before=sorted(before, key=lambda each: (each is None, each or 0)),
            who=author.who,
            why=author.why,
        )
    _log.info(
        "confirmed",
        kind=kind.value,
        of=subject,
        date=str(day),
        value=f"{value:f}",
        before=[None if each is None else f"{each:f}" for each in against.meant],
        by=author.who,
    )
    return True


async def unconfirm(
    database: Connections, kind: Confirmable, subject: str, day: date, author: Author
) -> Decimal:
    """Withdraw a confirmation: the price or rate is listed again.

    Args:
        database, kind, subject, day: as for `confirm`.
        author: who withdraws it.

    Returns:
        The value that was confirmed.

    Raises:
        NotFoundError: none is in force.
    """
    given = {"kind": kind.value, "subject": subject, "date": day}
    async with database.transaction() as connection:
        # Who confirms it again meanwhile ends one confirmation and begins another one.
        await sql("lock_confirmation").execute(connection, **given)
        value: Decimal | None = await sql("withdraw_confirmation").value(
            connection, **given, who=author.who
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
        await require_security(connection, subject)
        return
    local, _, base = subject.partition("/")
    unknown = await sql("unknown_currency").value(connection, local=local, base=base)
    if unknown is not None:
        raise NotFoundError(f"there is no currency {unknown!r}: give a pair LOCAL/BASE")


def _require_storable(value: Decimal) -> None:
    exponent = value.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or -exponent > _PLACES
        or value.adjusted() >= 38 - _PLACES
        or value <= 0
    ):
        raise InvalidInputError(
            f"a price or rate is positive and has at most {38 - _PLACES} digits before and "
            f"{_PLACES} after the point, not {value}"
        )
