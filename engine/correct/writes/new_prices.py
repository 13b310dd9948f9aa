"""Write prices: those that are new straight into their table, by COPY.

That takes half of the work of an INSERT of the same rows from another table, and the database need
not write, sort and read them before.
"""

from collections.abc import Callable
from contextlib import aclosing

import polars as pl

from revalue.engine.correct.inputs.sorted_rows import SortedRows
from revalue.engine.correct.writes import upserts
from revalue.engine.correct.writes.incoming import Incoming, InTheWayError
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
        incoming: used for ranges with stored prices.
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
            # A whole range is written by one of both ways: new prices first, and then those of
            # securities with stored ones, would be another order than that of the keys.
            if await _has_stored_prices(connection, frame):
                async with incoming:
                    await incoming.copy(iter([frame]))
                    await incoming.analyze()
                    found = await upserts.upsert(connection, "prices", len(frame), lambda _: None)
                counts = {name: count + found[name] for name, count in counts.items()}
            else:
                await copy_frame(connection, "market_prices", frame.select(_COLUMNS))
                counts["inserted"] += len(frame)
            done += len(frame)
            on_rows(done)
    return counts


async def _has_stored_prices(connection: Connection, frame: pl.DataFrame) -> bool:
    """Return whether a security has a stored price between its first and last date.

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
    return bool(found)
