"""Put rows of the lake over rows of PostgreSQL: of each position and date the greatest epoch wins.

A statement gives what PostgreSQL has for each position and date. What the lake has is read in the
same transaction, so both are of one moment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import polars as pl

from revalue.engine.core.decimals import AMOUNT, product
from revalue.engine.core.valuation import VALUATION_STATUS
from revalue.engine.errors import DataFaultError, LakeFaultError
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.snapshot_rows import KEY
from revalue.engine.postgres.statement import Connection, Rows

READABLE = "readable_epoch"
"""The column of a statement that says up to which epoch a row may be read; null: none may."""

_LIMIT = Decimal(10) ** 28
_EXACT, _PLACES = Context(prec=80, rounding=ROUND_HALF_EVEN), Decimal("1e-10")

_KEY_TYPES = {
    "position_id": pl.Int64,
    "date": pl.Date,
    "epoch": pl.Int32,
    READABLE: pl.Int32,
}


async def newer_rows(
    connection: Connection,
    keys: pl.DataFrame,
    columns: Sequence[str],
    *,
    known_at: datetime | None,
) -> pl.DataFrame:
    """Return the rows of the lake that replace what PostgreSQL has.

    Args:
        connection: in the transaction that read `keys`.
        keys: position_id, date, epoch (of the row that PostgreSQL has; null: none) and
            readable_epoch (the greatest that may be read; null: none). A position and date is there
            once.
        columns: of SNAPSHOT_COLUMNS, besides KEY.
        known_at: that of the statement which gave the keys.

    Returns:
        KEY and the columns; no row for what PostgreSQL has already.
    """
    wanted = keys.filter(pl.col(READABLE).is_not_null())
    lake = await Lake.of(connection) if len(wanted) else None
    if lake is None:
        return pl.DataFrame()
    rows = await lake.newest(
        connection,
        wanted.select("position_id", first_date="date", last_date="date", epoch=READABLE),
        columns,
        known_at=known_at,
    )
    stored = keys.select("position_id", "date", stored="epoch").filter(
        pl.col("stored").is_not_null()
    )
    rows = rows.join(stored, on=["position_id", "date"], how="left", maintain_order="left")
    _require_in_one_store(rows)
    is_newer = pl.col("stored").is_null() | (pl.col("epoch") > pl.col("stored"))
    return rows.filter(is_newer).drop("stored")


async def overlay(
    connection: Connection,
    frame: pl.DataFrame,
    columns: Sequence[str],
    *,
    known_at: datetime | None,
) -> pl.DataFrame:
    """Return a frame with the rows of the lake in place of those that they replace.

    Args:
        frame: the columns of `keys` of `newer_rows` and the columns, in the types of the core.

    Returns:
        The frame, and is_from_lake: whether the values of a row are the lake's.
    """
    keys = frame.select(pl.col(name).cast(kind) for name, kind in _KEY_TYPES.items())
    newer = await newer_rows(connection, keys, columns, known_at=known_at)
    if newer.is_empty():
        return frame.with_columns(is_from_lake=pl.lit(False))
    names = ("epoch", *columns)
    joined = frame.join(
        newer.rename({name: f"lake_{name}" for name in names}),
        on=["position_id", "date"],
        how="left",
        maintain_order="left",
    )
    is_from_lake = pl.col("lake_epoch").is_not_null()
    return joined.select(
        *(
            pl.when(is_from_lake).then(f"lake_{name}").otherwise(name).alias(name)
            if name in names
            else pl.col(name)
            for name in frame.columns
        ),
        is_from_lake=is_from_lake,
    )


async def overlay_dicts(
    connection: Connection,
    rows: Rows,
    columns: Sequence[str],
    *,
    known_at: datetime | None,
) -> None:
    """Put the values of the lake into the rows of a page that they replace.

    Args:
        rows: each has the columns of `keys` of `newer_rows`. One whose values are replaced gets the
            valuation_status of the lake's row, and no failure_reason.
    """
    keys = pl.DataFrame(
        [[row[name] for name in _KEY_TYPES] for row in rows], schema=_KEY_TYPES, orient="row"
    )
    newer = await newer_rows(connection, keys, ("status", *columns), known_at=known_at)
    place = {(row["position_id"], row["date"]): row for row in rows}
    for values in newer.iter_rows(named=True):
        row = place[values["position_id"], values["date"]]
        row["valuation_status"] = VALUATION_STATUS[values.pop("status")]
        row.update(values)
        if "failure_reason" in row:
            row["failure_reason"] = None


def newest_of_both(stored: pl.DataFrame, of_lake: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the rows of two frames, of each key the one of the greater epoch.

    Args:
        stored: what PostgreSQL has, with `epoch`; of each key one row.
        of_lake: what the lake has, with the same columns.
    """
    if of_lake.is_empty():
        return stored
    both = pl.concat([stored, of_lake.select(stored.columns)])
    twice = both.filter(pl.struct(*key, "epoch").is_duplicated())
    if len(twice):
        raise stored_twice(twice.row(0, named=True))
    return both.filter(pl.col("epoch") == pl.col("epoch").max().over(key))


def price_effect(gain_local: pl.Series, fx_rate: pl.Series) -> pl.Series:
    """Return round_half_even(gain_local * fx_rate, 10), 0 without a rate, as Decimal(38, 10).

    It is not limited to 18 digits before the point, as gains are: see the view postgres_valuations.
    """
    effect = product(gain_local, fx_rate, 10)
    is_large = effect.is_null() & fx_rate.is_not_null()
    if is_large.any():
        values = effect.to_list()
        for place in is_large.arg_true():
            large = _EXACT.multiply(gain_local[place], fx_rate[place])
            if abs(large) >= _LIMIT:
                raise DataFaultError(
                    f"a price effect of {large:.0f} has more than 28 digits before the point: an "
                    f"unrealized gain of {gain_local[place]} at the rate {fx_rate[place]}. Correct "
                    "the rate, the cost or the quantity"
                )
            values[place] = large.quantize(_PLACES, context=_EXACT)
        effect = pl.Series(effect.name, values, dtype=AMOUNT)
    zero = pl.repeat(0, len(effect), dtype=pl.Int64, eager=True).cast(AMOUNT)
    return effect.zip_with(effect.is_not_null(), zero)


def _require_in_one_store(rows: pl.DataFrame) -> None:
    twice = rows.filter(pl.col("epoch") == pl.col("stored"))
    if len(twice):
        raise stored_twice(twice.row(0, named=True))


def stored_twice(row: Mapping[str, Any]) -> LakeFaultError:
    """Return the error of a row that both stores have."""
    what = ", ".join(f"{name} {row[name]}" for name in (*KEY, "portfolio_id") if name in row)
    return LakeFaultError(
        f"one row is both in PostgreSQL and in the lake ({what}): which one is right is not known. "
        "Run `revalue lake check`, and restore the lake and the database from the same time"
    )
