"""Snapshots: a file that is the complete holding of its portfolios on one date.

What these portfolios hold on that date, and the file leaves out, is closed on it.
"""

from collections.abc import Set
from datetime import date

from revalue.engine.correct.loads.position_records import PositionRecord
from revalue.engine.errors import CorrectionRefusedError, InvalidInputError
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


def key(record: PositionRecord) -> tuple[str, str]:
    """Return the portfolio and the security of a record."""
    return record.portfolio_id, record.security_id


async def close_left_out(
    connection: Connection, place: str, may_close: Set[tuple[str, str]] | None
) -> tuple[date, tuple[PositionRecord, ...]]:
    """Add the closing records of positions that a snapshot leaves out to its rows.

    Args:
        connection: in the transaction that has filled `incoming`.
        place: where the rows come from, for messages.
        may_close: the portfolios and securities whose positions may be closed; None: any.

    Returns:
        The date of the snapshot, and the records that were in force on it of what is closed.

    Raises:
        InvalidInputError: the rows have several dates, or there are none.
        CorrectionRefusedError: another position would be closed.
    """
    first, last = await sql("snapshot_dates").one(connection)
    if first is None:
        raise InvalidInputError(
            f"{place}: a snapshot without rows names no portfolio, so it says nothing: give the "
            "portfolios that hold nothing any more a record with quantity 0"
        )
    if first != last:
        raise InvalidInputError(
            f"{place}: a snapshot is what portfolios hold on one date, and the rows have several, "
            f"from {first} to {last}: load one file per date"
        )
    await sql("lock_held_positions").execute(connection)
    rows = await sql("close_left_out").fetch(connection, date=first)
    closed = tuple(PositionRecord(*row) for row in rows)
    others = [each for each in closed if may_close is not None and key(each) not in may_close]
    if others:
        shown = ", ".join(f"{each.portfolio_id} / {each.security_id}" for each in others[:5])
        raise CorrectionRefusedError(
            f"{place}: the holdings have changed meanwhile, and the snapshot would also close "
            f"{len(others):,}: {shown}. Look again at what it would close"
        )
    return first, closed
