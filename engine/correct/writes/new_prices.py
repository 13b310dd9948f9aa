"""Write prices: those that are new straight into their table, by COPY, and those that differ.

COPY takes half of the work of an INSERT of the same rows from another table, and the database need
not write, sort and read them before. A file that is sent again is mostly equal to what is stored:
that is read and compared here. To compare it in the database takes more than twice the work.
"""

from collections.abc import Callable
from contextlib import aclosing

import polars as pl

from revalue.engine.correct.inputs.sorted_rows import SortedRows
from revalue.engine.correct.writes import upserts
from revalue.engine.correct.writes.incoming import Incoming, InTheWayError
from revalue.engine.postgres.ahead import ahead
from revalue.engine.postgres.bulk_copy import copy_frame
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.transaction_reader import read_frame

sql = statements(__package__)

_COLUMNS = ["security_id", "price_date", "price", "currency", "quote_basis"]
_MOST_DAYS_READ = 4
"""So many days a given price may lie between the first and the last one of its security."""


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
            spans = _spans(frame)
            if await _has_stored_prices(connection, spans):
                others = await _without_equal(connection, frame, spans)
                counts["unchanged"] += len(frame) - len(others)
                if len(others):
                    async with incoming:
                        await incoming.copy(iter([others]))
                        await incoming.analyze()
                        found = await upserts.upsert(
                            connection, "prices", len(others), lambda _: None
                        )
                    counts = {name: count + found[name] for name, count in counts.items()}
            else:
                await copy_frame(connection, "market_prices", frame.select(_COLUMNS))
                counts["inserted"] += len(frame)
            done += len(frame)
            on_rows(done)
    return counts


def _spans(frame: pl.DataFrame) -> pl.DataFrame:
    """Return of each security the first and last date, and whether a price is per contract."""
    return frame.group_by("security_id", maintain_order=True).agg(
        first=pl.col("price_date").first(),
        last=pl.col("price_date").last(),
        is_per_contract=(pl.col("quote_basis") == "PER_CONTRACT").any(),
    )


async def _has_stored_prices(connection: Connection, spans: pl.DataFrame) -> bool:
    """Return whether a security has a stored price between its first and last date.

    Raises:
        InTheWayError: a security, or its multiplier, does not exist.
    """
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


async def _without_equal(
    connection: Connection, frame: pl.DataFrame, spans: pl.DataFrame
) -> pl.DataFrame:
    """Leave out the prices that are stored as they are given, unless that takes too many reads."""
    days = (spans["last"] - spans["first"]).dt.total_days() + 1
    if days.sum() > _MOST_DAYS_READ * len(frame):
        return frame
    statement = sql("stored_prices")
    stored = await read_frame(
        connection,
        statement.positional,
        spans["security_id"].to_list(),
        spans["first"].to_list(),
        spans["last"].to_list(),
    )
    stored = stored.with_columns(pl.col("price").cast(frame.schema["price"]))
    return frame.join(stored, on=_COLUMNS, how="anti", nulls_equal=True, maintain_order="left")
