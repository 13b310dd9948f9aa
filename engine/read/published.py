"""All published numbers of a month, of both stores, some positions after the others."""

from collections.abc import AsyncIterator
from datetime import date

import polars as pl

from revalue.engine.core.date_ranges import months
from revalue.engine.core.decimals import AMOUNT
from revalue.engine.core.valuation import VALUATION_STATUS, VALUE_COLUMNS
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.overlay import newest_of_both, price_effect
from revalue.engine.lake.snapshot_rows import in_core_types
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.read.both_stores import read_parameters
from revalue.engine.read.report import REPORT_COLUMNS

sql = statements(__package__)

PUBLISHED_COLUMNS = {
    name: kind
    for name, kind in REPORT_COLUMNS.items()
    if name not in ("reprocessing_status", "failure_reason")
}
"""The columns of a report, without those that say how a position is at the moment."""

POSITIONS_AT_ONCE = 20_000
"""Of a month that is half a million rows: about 500 MB while they are read."""


async def months_of_snapshots(connection: Connection) -> list[tuple[date, date]]:
    """Return the first and the last day of each month from the first snapshot to the last one."""
    first, last, _ = await sql("dates_of_snapshots").one(connection)
    return [] if first is None else list(months(first, last))


async def published_numbers(
    connection: Connection,
    lake: Lake | None,
    spans: pl.DataFrame,
    first_date: date,
    last_date: date,
) -> AsyncIterator[pl.DataFrame]:
    """Yield the published numbers of all positions from one date to another (both included).

    Args:
        connection: in the transaction that has read the spans.
        lake: of the database; None: it has none.
        spans: `both_stores.read_all_spans` of now.

    Yields:
        PUBLISHED_COLUMNS, sorted by portfolio_id, security_id and date: of POSITIONS_AT_ONCE
        positions at most, each of them once, and only if they show a number.

    Raises:
        LakeFaultError: a file is missing or unreadable, or a row is stored twice.
        TransientError: the lake cannot be reached now.
    """
    of_dates = spans.filter(
        pl.col("first_date") <= last_date, pl.col("last_date") >= first_date
    ).with_columns(pl.col("first_date").clip(first_date), pl.col("last_date").clip(None, last_date))
    ids = of_dates["position_id"].unique().sort()
    for begin in range(0, len(ids), POSITIONS_AT_ONCE):
        some = ids.slice(begin, POSITIONS_AT_ONCE)
        wanted = of_dates.filter(pl.col("position_id").is_between(some[0], some[-1]))
        stored = in_core_types(
            await read_parameters(
                connection,
                "published_snapshots",
                first_position=some[0],
                last_position=some[-1],
                first_date=first_date,
                last_date=last_date,
            )
        )
        if lake is not None:
            of_lake = await lake.newest(
                connection,
                wanted.select("position_id", "first_date", "last_date", "epoch"),
                ("status", *VALUE_COLUMNS),
            )
            stored = newest_of_both(stored, of_lake, ["position_id", "date"])
        if len(stored):
            yield _named(stored, wanted)


def _named(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    names = spans.select(
        "position_id", "portfolio_id", "security_id", "base_currency", "local_currency"
    ).unique("position_id")
    effect = price_effect(rows["unrealized_gain_local"], rows["fx_rate"])
    return (
        rows.with_columns(
            valuation_status=pl.col("status").replace_strict(
                VALUATION_STATUS, return_dtype=pl.String
            ),
            price_effect=effect,
            fx_effect=(pl.col("unrealized_gain") - effect).cast(AMOUNT),
        )
        .join(names, on="position_id")
        .select(*PUBLISHED_COLUMNS)
        .sort("portfolio_id", "security_id", "date")
    )
