"""Find the newest row of each position and date in the lake; require that none is there twice."""

from typing import Any

import polars as pl

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.valuation import AMOUNT_COLUMNS
from revalue.engine.errors import LakeFaultError

KEY = ("position_id", "date", "epoch")

_RATES = ("price", "fx_rate")


def newest_of_once(rows: pl.DataFrame) -> pl.DataFrame:
    """Return of each position and date the row of the greatest epoch, of rows that are there once.

    Most dates have one row, of epoch 0: the newest is looked for among the others only.
    """
    later = rows.filter(pl.col("epoch") > 0)
    if later.is_empty():
        return rows
    newest = later.group_by("position_id", "date").agg(newest=pl.col("epoch").max())
    return (
        rows.join(newest, on=["position_id", "date"], how="left")
        .filter(pl.col("newest").is_null() | (pl.col("epoch") == pl.col("newest")))
        .drop("newest")
    )


def newest_of_any(rows: pl.DataFrame) -> pl.DataFrame:
    """Return of each position and date the row of the greatest epoch.

    Neighbours are compared: a window, or a hash of all keys, takes several times as long.

    Raises:
        LakeFaultError: one of the rows to be returned is there twice.
    """
    rows = rows.sort(KEY)
    position, day, epoch = (pl.col(name) for name in KEY)
    is_superseded = (position == position.shift(-1)) & (day == day.shift(-1))
    is_twice = (position == position.shift(1)) & (day == day.shift(1)) & (epoch == epoch.shift(1))
    marked = rows.select(
        is_newest=~is_superseded.fill_null(False), is_twice=is_twice.fill_null(False)
    )
    if (marked["is_newest"] & marked["is_twice"]).any():
        require_once(rows)
    return rows if marked["is_newest"].all() else rows.filter(marked["is_newest"])


def require_once(rows: pl.DataFrame) -> None:
    """Require that no position, date and epoch is there twice: which one is right is not known.

    Raises:
        LakeFaultError: one is.
    """
    if first := doubled_row(rows):
        raise LakeFaultError(
            f"position {first['position_id']} has two rows of {first['date']} under epoch "
            f"{first['epoch']}: the lake is damaged. Run `revalue lake check`, and restore the "
            "lake and the database from the same time"
        )


def doubled_row(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Return a position, date and epoch that rows have twice; None: there is none."""
    position, day, epoch = (pl.col(name) for name in KEY)
    # As tasks write them they ascend, which takes a hundredth of the time to see.
    ascends = (day > day.shift(1)) | (
        (day == day.shift(1))
        & (
            (position > position.shift(1))
            | ((position == position.shift(1)) & (epoch > epoch.shift(1)))
        )
    )
    if rows.select(ascends.all()).item():
        return None
    twice = rows.select(KEY).filter(pl.struct(KEY).is_duplicated())
    return twice.row(0, named=True) if len(twice) else None


def in_core_types(rows: pl.DataFrame) -> pl.DataFrame:
    """Return snapshots with the decimals of the core, which have more digits than the stored."""
    return rows.with_columns(
        pl.col([name for name in AMOUNT_COLUMNS if name in rows.columns]).cast(AMOUNT),
        pl.col([name for name in _RATES if name in rows.columns]).cast(RATE),
    )
