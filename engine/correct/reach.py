"""What the corrections of a transaction affect."""

from collections.abc import Sequence
from dataclasses import dataclass

from revalue.engine.core.date_ranges import DateRange, date_ranges
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


@dataclass(frozen=True)
class Reach:
    """What the corrected prices and rates of a transaction affect.

    Attributes:
        trigger_ids: the triggers that record them.
        positions: how many positions they affect at most.
        dates: the dates that they affect, both ends of each range included.
    """

    trigger_ids: tuple[int, ...]
    positions: int
    dates: tuple[DateRange, ...]


async def reach(connection: Connection) -> Reach:
    """Return what the prices and rates that this transaction has corrected affect."""
    found = await sql("reach").one(connection)
    dates = date_ranges(found["dates"]) if found["positions"] else ()
    return Reach(tuple(found["trigger_ids"]), found["positions"], dates)


async def reach_together(
    connection: Connection, positions: Sequence[tuple[str, str]]
) -> tuple[tuple[int, ...], int]:
    """Return what the prices and rates affect together with corrected positions.

    Args:
        connection: in the transaction that has corrected them.
        positions: portfolio and security of each position whose records it has corrected.

    Returns:
        The triggers of the prices and rates, and the number of positions. Each counts once.
    """
    found = await sql("reach_together").one(
        connection,
        portfolios=[portfolio for portfolio, _ in positions],
        securities=[security for _, security in positions],
    )
    return tuple(found["trigger_ids"]), found["positions"]


async def dates_of(connection: Connection, trigger: int) -> tuple[DateRange, ...]:
    """Return the dates that a trigger affects."""
    return date_ranges(await sql("trigger_dates").value(connection, trigger=trigger))
