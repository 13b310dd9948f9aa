"""Merge the rows of PostgreSQL and of the lake, for answers that are not a row per open position.

Each function is given what a statement has read from PostgreSQL, in the transaction that is open.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from revalue.engine.core.date_ranges import months
from revalue.engine.core.decimals import AMOUNT
from revalue.engine.core.valuation import VALUATION_STATUS, VALUE_COLUMNS
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.overlay import newest_of_both, overlay, stored_twice
from revalue.engine.lake.snapshot_rows import in_core_types
from revalue.engine.postgres.statement import Connection, Rows, statements
from revalue.engine.postgres.transaction_reader import read_frame

sql = statements(__package__)

_SUMS = {
    "base_currency": pl.String(),
    "date": pl.Date(),
    "market_value": AMOUNT,
    "unrealized_gain": AMOUNT,
}
_SUMMED = ("market_value", "unrealized_gain")
_SUMMED_ROWS = 2_000_000
"""About how many rows of the lake are in memory while they are summed: 100 MB."""
_NAMES = ["portfolio_id", "security_id"]
_FIRST_DAY, _LAST_DAY = date(1, 1, 2), date(9999, 12, 30)  # the very first and last are infinities
_NAMED = 20
"""How many securities without a value, or with a stale one, are named at most."""


async def readable_rows(
    connection: Connection,
    lake: Lake,
    columns: Sequence[str],
    *,
    portfolio: str | None,
    security: str | None,
    first_date: date | None,
    last_date: date | None,
    known_at: datetime | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what may be read of positions, and the newest rows of it that the lake has.

    Args:
        columns: of SNAPSHOT_COLUMNS.
        first_date: the first date; None: of all. last_date: the last one (included).

    Returns:
        The columns of the statement readable_spans, without the dates, one row per position; and
        position_id, date, epoch and the columns.
    """
    spans = await read_parameters(
        connection,
        "readable_spans",
        portfolio=portfolio,
        security=security,
        first_date=max(first_date or _FIRST_DAY, _FIRST_DAY),
        last_date=min(last_date or _LAST_DAY, _LAST_DAY),
        known_at=known_at,
    )
    rows = await lake.newest(
        connection,
        spans.select("position_id", "first_date", "last_date", "epoch"),
        columns,
        known_at=known_at,
    )
    return spans.drop("first_date", "last_date", "epoch").unique("position_id"), rows


async def read_all_spans(connection: Connection, known_at: datetime | None) -> pl.DataFrame:
    """Return the statement readable_spans of all positions and dates, at a time (None: now)."""
    return await read_parameters(
        connection,
        "readable_spans",
        portfolio=None,
        security=None,
        first_date=_FIRST_DAY,
        last_date=_LAST_DAY,
        known_at=known_at,
    )


async def history(
    connection: Connection,
    lake: Lake,
    rows: Rows,
    *,
    portfolio: str,
    security: str,
    first_date: date,
    last_date: date,
    after: date,
    limit: int,
    known_at: datetime | None,
) -> Rows:
    """Return the first dates of a history, from what PostgreSQL and what the lake has of it.

    Args:
        rows: of the statement history: the first `limit` ones.
    """
    if after >= last_date:
        return rows
    _, found = await readable_rows(
        connection,
        lake,
        ("status", *VALUE_COLUMNS),
        portfolio=portfolio,
        security=security,
        first_date=max(first_date, after + timedelta(days=1)),
        last_date=last_date,
        known_at=known_at,
    )
    of_date = {row["date"]: row for row in rows}
    for values in found.sort("date").head(limit).drop("position_id").iter_rows(named=True):
        stored = of_date.get(values["date"])
        if stored is not None and stored["epoch"] == values["epoch"]:
            raise stored_twice(values)
        if stored is None or stored["epoch"] < values["epoch"]:
            status = VALUATION_STATUS[values.pop("status")]
            of_date[values["date"]] = {**values, "valuation_status": status}
    return [of_date[day] for day in sorted(of_date)][:limit]


async def totals(connection: Connection, **given: Any) -> Rows:
    """Return what the statement totals does, with the same parameters, of both stores."""
    lines = await read_parameters(connection, "total_lines", **given)
    lines = lines.with_columns(pl.col("market_value", "unrealized_gain").cast(AMOUNT))
    both = await overlay(
        connection,
        lines,
        ("status", "market_value", "unrealized_gain"),
        known_at=given["known_at"],
    )
    is_line, is_valued = pl.col("position_id").is_not_null(), pl.col("status").is_not_null()
    names = pl.col("security_id")
    found = both.group_by("date", maintain_order=True).agg(
        *(
            pl.when(is_valued.any()).then(pl.col(name).sum()).alias(name)
            for name in ("market_value", "unrealized_gain")
        ),
        lines=is_line.sum(),
        lines_valued=is_valued.sum(),
        lines_stale=(pl.col("status") == 1).sum(),
        lines_waiting=pl.col("waits").sum(),
        lines_missing=(is_line & ~is_valued & ~pl.col("waits")).sum(),
        lines_reprocessing=pl.col("reprocesses").sum(),
        stale=names.filter(pl.col("status") == 1).head(_NAMED),
        without_value=names.filter(is_line & ~is_valued).head(_NAMED),
    )
    return found.to_dicts()


async def valuations(
    connection: Connection, lake: Lake, rows: pl.DataFrame, **given: Any
) -> pl.DataFrame:
    """Return the valued position-days of both stores, in the order of the statement valuations.

    Args:
        rows: of that statement, in the types of the core.
        given: its parameters.
    """
    positions, found = await readable_rows(connection, lake, ("status", *VALUE_COLUMNS), **given)
    of_lake = found.join(positions, on="position_id").with_columns(
        valuation_status=pl.col("status").replace_strict(VALUATION_STATUS, return_dtype=pl.String)
    )
    return (
        newest_of_both(rows, of_lake, [*_NAMES, "date"])
        .join(positions.select(*_NAMES, "place"), on=_NAMES)
        .sort("place", "date")
        .drop("place")
    )


async def totals_by_currency(connection: Connection, lake: Lake) -> pl.DataFrame:
    """Return what frames.totals_by_currency does, of both stores: some months after the others.

    A file that is not merged may have rows of all months: it is read once for each period.
    """
    first, last, in_lake = await sql("dates_of_snapshots").one(connection)
    parts = [pl.DataFrame(schema=_SUMS)]
    spans = await read_all_spans(connection, None)
    every = list(months(first, last)) if first is not None else []
    at_once = max(1, _SUMMED_ROWS * len(every) // max(1, in_lake))
    for start in range(0, len(every), at_once):
        period = every[start : start + at_once]
        begin, end = period[0][0], period[-1][1]
        if await sql("has_snapshots").value(connection, first_date=begin, last_date=end):
            parts += [await _sums_of_both(connection, lake, *month) for month in period]
        else:
            parts.append(await _sums_of_lake(connection, lake, spans, begin, end))
    return pl.concat(parts).sort("base_currency", "date")


async def _sums_of_both(connection: Connection, lake: Lake, begin: date, end: date) -> pl.DataFrame:
    given = {
        "portfolio": None,
        "security": None,
        "first_date": begin,
        "last_date": end,
        "known_at": None,
    }
    rows = in_core_types(await read_parameters(connection, "valuations", **given))
    return _sums(await valuations(connection, lake, rows, **given))


async def _sums_of_lake(
    connection: Connection, lake: Lake, spans: pl.DataFrame, begin: date, end: date
) -> pl.DataFrame:
    """Sum dates of which PostgreSQL has no rows."""
    of_dates = spans.filter(pl.col("first_date") <= end, pl.col("last_date") >= begin)
    wanted = of_dates.select(
        "position_id",
        pl.col("first_date").clip(begin),
        pl.col("last_date").clip(None, end),
        "epoch",
        "base_currency",
    )
    return _sums(await lake.newest(connection, wanted, _SUMMED, kept=("base_currency",)))


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("base_currency", "date").agg(pl.col(_SUMMED).sum())


async def numbers_in_lake(
    connection: Connection, lake: Lake, portfolio: str, security: str, day: date
) -> str | None:
    """Return every row of a position and date that the lake has, with the time of its commit.

    Returns:
        A JSON array of objects with the columns of the view dated_snapshots; None: there are none.
    """
    position = await sql("position_id").value(connection, portfolio=portfolio, security=security)
    rows = await lake.all_epochs(connection, position, day)
    return json.dumps(rows, default=str) if rows else None


async def read_parameters(connection: Connection, name: str, **given: Any) -> pl.DataFrame:
    """Read the frame of a statement of this folder with its parameters by their names."""
    statement = sql(name)
    return await read_frame(
        connection, statement.positional, *(given[each] for each in statement.parameters)
    )
