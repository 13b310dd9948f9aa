"""The last count of positions, which the database keeps for all processes.

A small book is counted for every request. Of a large book the last count is kept, and everything
derived from it says when it was counted. While there is work, counts are so far apart that they
take a twentieth of the time. Whether every position is current is answered as of now all the same
(position_counts.LastChange).
"""

from dataclasses import replace
from functools import cache

from pydantic import TypeAdapter, ValidationError

from revalue.engine.operate import eta
from revalue.engine.operate.position_counts import (
    PositionCounts,
    count_positions,
    read_last_change,
)
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import statements
from revalue.engine.settings import Settings

sql = statements(__package__)

FEW_POSITIONS = 20_000
"""So many positions are counted for every question."""

SHARE = 0.05
"""More are counted, while they change, so seldom that it takes this share of the time."""


async def known_counts(
    database: Connections,
    settings: Settings | None = None,
    *,
    last: PositionCounts | None = None,
    few_positions: int | None = None,
    share: float | None = None,
    exact: bool = False,
) -> PositionCounts | None:
    """Return the positions as they were counted before; None: count them. See shared_counts."""
    few = FEW_POSITIONS if few_positions is None else few_positions
    async with database.connection() as connection:
        change = await read_last_change(connection)
        kept = await sql("kept_counts").value(connection)
    for counts in (_read(kept), last):
        if counts is None or counts.total <= few:
            continue
        if counts.is_unchanged(change):
            left = eta.Remaining(0, None, 0.0) if settings else counts.left
            return replace(counts, counted_at=change.read_at, left=left)
        is_complete = counts.left is not None or settings is None
        if not exact and is_complete and counts.is_young(change, share or SHARE):
            return counts
    return None


async def shared_counts(
    database: Connections,
    settings: Settings | None = None,
    *,
    last: PositionCounts | None = None,
    few_positions: int | None = None,
    share: float | None = None,
    exact: bool = False,
) -> PositionCounts:
    """Return the positions as they are kept in the database, or count them and keep that.

    Args:
        database: the database to ask.
        settings: count the work that is left with these; None: it may be left out.
        last: what the caller had before; of use to one who may not keep anything.
        few_positions: up to this many are counted now. None: FEW_POSITIONS.
        share: while a larger book changes, counts take this share of the time. None: SHARE.
        exact: count them now, unless nothing can have changed them.
    """
    few = FEW_POSITIONS if few_positions is None else few_positions
    known = await known_counts(
        database, settings, last=last, few_positions=few, share=share, exact=exact
    )
    if known is not None:
        return known
    counts = await count_positions(database, settings)
    if counts.total > few:
        async with database.connection() as connection:
            if await sql("may_keep_counts").value(connection):
                text = _kept_form().dump_json(counts).decode()
                await sql("keep_counts").execute(connection, made_at=counts.made_at, counts=text)
    return counts


@cache
def _kept_form() -> TypeAdapter[PositionCounts]:
    return TypeAdapter(PositionCounts)


def _read(text: str | None) -> PositionCounts | None:
    try:
        return None if text is None else _kept_form().validate_json(text)
    except ValidationError:  # another version has kept them
        return None
