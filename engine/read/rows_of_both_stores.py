"""Rows of both stores one by one, for `explain` and the reference valuation.

Both compare a row with one that plain Python computes, so that these rows are Python objects.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from revalue.engine.core.valuation import VALUATION_STATUS, VALUE_COLUMNS
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.overlay import newest_of_both, stored_twice
from revalue.engine.lake.snapshot_rows import in_core_types
from revalue.engine.postgres.statement import Connection
from revalue.engine.read.both_stores import read_all_spans, read_parameters, readable_rows
from revalue.engine.read.row_valuation import (
    EXACT,
    PLACES_10,
    ZERO,
    ExpectedRow,
    PositionKey,
)

_NAMES = ["portfolio_id", "security_id"]
_EFFECTS = ("price_effect", "fx_effect")
_OF_POSITION = ("base_currency", "local_currency", "reprocessing_status", "watermark_date")
_POSITIONS_AT_ONCE = 500


async def row_of_both(
    connection: Connection,
    lake: Lake,
    stored: dict[str, Any] | None,
    position: Mapping[str, Any],
    portfolio: str,
    security: str,
    day: date,
) -> dict[str, Any] | None:
    """Return the row that readers see of a position and date.

    Args:
        stored: the row of the view postgres_valuations; None: there is none.
        position: base_currency, local_currency, reprocessing_status, watermark_date of it.
    """
    _, found = await readable_rows(
        connection,
        lake,
        ("job_id", "status", "fx_path", *VALUE_COLUMNS),
        portfolio=portfolio,
        security=security,
        first_date=day,
        last_date=day,
        known_at=None,
    )
    if found.is_empty() or (stored is not None and stored["epoch"] > found["epoch"][0]):
        return stored
    row = found.row(0, named=True)
    if stored is not None and stored["epoch"] == row["epoch"]:
        raise stored_twice(row)
    status = VALUATION_STATUS[row.pop("status")]
    return {
        "portfolio_id": portfolio,
        "security_id": security,
        **{name: position[name] for name in _OF_POSITION},
        **row,
        "valuation_status": status,
        **_effects(row),
    }


async def published_rows_of_both(
    connection: Connection, lake: Lake, positions: Collection[PositionKey] | None
) -> AsyncIterator[list[ExpectedRow]]:
    """Yield what book_data.published_rows does, of both stores: some positions after the others."""
    every = await read_all_spans(connection, None)
    spans = every.sort("portfolio_id", "security_id", "first_date")
    if positions is not None:
        wanted = pl.DataFrame(
            sorted(positions), schema=dict.fromkeys(_NAMES, pl.String), orient="row"
        )
        spans = spans.join(wanted, on=_NAMES, how="semi", maintain_order="left")
    ids = spans["position_id"].unique(maintain_order=True)
    for first in range(0, len(ids), _POSITIONS_AT_ONCE):
        some = ids.slice(first, _POSITIONS_AT_ONCE)
        part = spans.filter(pl.col("position_id").is_in(some.implode()))
        names = part.select("position_id", *_NAMES).unique("position_id")
        stored = await read_parameters(
            connection,
            "published_rows",
            portfolios=names["portfolio_id"].to_list(),
            securities=names["security_id"].to_list(),
        )
        found = await lake.newest(
            connection,
            part.select("position_id", "first_date", "last_date", "epoch"),
            ("status", "fx_path", *VALUE_COLUMNS),
        )
        of_lake = found.join(names, on="position_id").with_columns(
            pl.col("status")
            .replace_strict(VALUATION_STATUS, return_dtype=pl.String)
            .alias("valuation_status"),
            *(pl.lit(None, dtype=pl.String).alias(name) for name in _EFFECTS),
        )
        rows = newest_of_both(in_core_types(stored), of_lake, [*_NAMES, "date"]).sort(
            *_NAMES, "date"
        )
        yield [_expected(row) for row in rows.iter_rows(named=True)]


def _expected(row: dict[str, Any]) -> ExpectedRow:
    del row["epoch"]
    effects = (
        _effects(row)
        if row["price_effect"] is None
        else {name: Decimal(row[name]) for name in _EFFECTS}
    )
    return ExpectedRow(**{**row, **effects})


def _effects(row: Mapping[str, Any]) -> dict[str, Decimal]:
    """Split the gain of a row of the lake as the view postgres_valuations does."""
    if row["fx_rate"] is None:
        price_effect = ZERO
    else:
        product = EXACT.multiply(row["unrealized_gain_local"], row["fx_rate"])
        price_effect = product.quantize(PLACES_10, context=EXACT)
    return {
        "price_effect": price_effect,
        "fx_effect": EXACT.subtract(row["unrealized_gain"], price_effect),
    }
