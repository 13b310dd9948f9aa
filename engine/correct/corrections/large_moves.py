"""A corrected price or rate that is far from the one before it: often a typing error, or in another
unit. It is stored, and whoever corrects it is warned.
"""

from datetime import date
from decimal import Decimal

from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

MOVE_PERCENT = 20.0
"""A move of more than this is told, unless the security has a move_limit_percent."""


async def price_move_warnings(
    connection: Connection, security: str, day: date, new: Decimal
) -> tuple[str, ...]:
    """Say that a stored price is far from the last one before its date; none: it is not.

    One that is quoted in another currency, or on another basis, is not compared.
    """
    before = await sql("price_before").row(connection, security=security, date=day)
    if before is None:
        return ()
    limit = before["move_limit_percent"]
    return _warnings(
        new,
        before["price"],
        f"the price of {before['price_date']}",
        float(limit) if limit is not None else MOVE_PERCENT,
    )


async def rate_move_warnings(
    connection: Connection, base: str, quote: str, day: date, new: Decimal
) -> tuple[str, ...]:
    """Say that a stored rate is far from the last one of its pair before its date; else none."""
    before = await sql("rate_before").row(connection, base=base, quote=quote, date=day)
    if before is None:
        return ()
    return _warnings(new, before["rate"], f"the rate of {before['rate_date']}", MOVE_PERCENT)


def _warnings(new: Decimal, before: Decimal, what: str, limit: float) -> tuple[str, ...]:
    if before == 0:
        return ()
    percent = float((new - before) / abs(before) * 100)
    if abs(percent) <= limit:
        return ()
    return (
        f"{new.normalize():f} is {percent:+,.2f} % from {what}, {before.normalize():f}: more than "
        f"the limit of {limit:g} % for a move. Is it in the same unit?",
    )
