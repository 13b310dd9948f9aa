"""Write prices: those that are new straight into their table, by COPY.

That takes half of the work of an INSERT of the same rows from another table, and the database need
not write, sort and read them before.
"""

from collections.abc import Callable
from contextlib import aclosing

import polars as pl

from revalue.engine.correct import upserts
from revalue.engine.correct.incoming import Incoming, InTheWayError
from revalue.engine.correct.sorted_rows import SortedRows
from revalue.engine.postgres.ahead import ahead
from revalue.engine.postgres.arrow import copy_frame
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_COLUMNS = ["security_id", "price_date", "price", "currency", "quote_basis"]


async def write(
    connection: Connection,
    rows: SortedRows,
    incoming: Incoming,
    on_rows: Callable[[int], None],
) -> dict[str, int]:
    """Write prices range by range, in the order of their keys, so that two loads do not deadlock.

    Args:
        connection: in the transaction of the load.
        rows: prices that break no rule by themselves.
        incoming: used for prices of securities that have stored ones between.
        on_rows: called with the number of rows that are done.

    Returns:
        The number of rows that were inserted, changed and unchanged.

    Raises:
        InTheWayError: a row has no security, or no multiplier, or the key of another row.
        DataFaultError: the same of a currency; or another session has inserted a price meanwhile.
    """
    counts = {"inserted": 0, "changed": 0, "unchanged": 0}
    done = 0
    async with aclosing(ahead(rows.frames())) as frames:
        async for frame in frames:
            if frame["is_repeated"].any():
                raise InTheWayError
            stored = await _with_stored_prices(connection, frame)
            new, known = _divided(frame, stored)
            if len(new):
                await copy_frame(connection, "market_prices", new.select(_COLUMNS))
                counts["inserted"] += len(new)
            if len(known):
                async with incoming:
                    await incoming.copy(iter([known]))
                    await incoming.analyze()
                    found = await upserts.upsert(connection, "prices", len(known), lambda _: None)
                counts = {name: count + found[name] for name, count in counts.items()}
            done += len(frame)
            on_rows(done)
    return counts


async def _with_stored_prices(connection: Connection, frame: pl.DataFrame) -> list[str]:
    """Return the securities that have a stored price between their first and last date.

    Raises:
        InTheWayError: a security, or its multiplier, does not exist.
    """
    spans = frame.group_by("security_id", maintain_order=True).agg(
        first=pl.col("price_date").first(),
        last=pl.col("price_date").last(),
        is_per_contract=(pl.col("quote_basis") == "PER_CONTRACT").any(),
    )
    found = await sql("prices_between").fetch(
        connection,
        securities=spans["security_id"].to_list(),
        firsts=spans["first"].to_list(),
        lasts=spans["last"].to_list(),
        per_contract=spans["is_per_contract"].to_list(),
    )
    if any(row["is_refused"] for row in found):
        raise InTheWayError
    return [row["security_id"] for row in found]


def _divided(frame: pl.DataFrame, stored: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the prices of other securities, and those of securities with stored prices."""
    if not stored:
        return frame, frame.clear()
    is_stored = frame["security_id"].is_in(pl.Series(stored, dtype=pl.String).implode())
    return frame.filter(~is_stored), frame.filter(is_stored)
