"""The valuation of a task: from spans, position records and market data to snapshot rows.

The rules are those of docs/valuation.md. Nothing here knows a database or a clock.
"""

from dataclasses import dataclass

import polars as pl

from revalue.engine.core.calendar import expand_to_dates
from revalue.engine.core.decimals import AMOUNT, RATE, product, within_limit
from revalue.engine.core.lifecycle import FailureReason, JobStatus
from revalue.engine.core.market import (
    PATH_SAME,
    Market,
    conversion_rates,
    encode_pair,
    unit_prices,
)

VALUED_CURRENT, VALUED_STALE = 0, 1
VALUATION_STATUS = {VALUED_CURRENT: "VALUED_CURRENT", VALUED_STALE: "VALUED_STALE"}
"""What readers call the status of a snapshot."""

AMOUNT_COLUMNS = (
    "quantity",
    "cost_basis_local",
    "cost_basis",
    "market_value_local",
    "market_value",
    "unrealized_gain_local",
    "unrealized_gain",
)
"""The columns of a snapshot row that are amounts, of type AMOUNT."""

SNAPSHOT_COLUMNS = (
    "position_id",
    "job_id",
    "date",
    "epoch",
    "price_date",
    "fx_date",
    "fx_path",
    "status",
    "quantity",
    "cost_basis_local",
    "cost_basis",
    "price",
    "fx_rate",
    "market_value_local",
    "market_value",
    "unrealized_gain_local",
    "unrealized_gain",
)

VALUE_COLUMNS = (
    "quantity",
    "cost_basis_local",
    "cost_basis",
    "price",
    "price_date",
    "fx_rate",
    "fx_date",
    "market_value_local",
    "market_value",
    "unrealized_gain_local",
    "unrealized_gain",
)
"""The columns of a snapshot that readers are shown under the same names."""


@dataclass(frozen=True)
class Valued:
    """The result of a valuation.

    rows: span_no and SNAPSHOT_COLUMNS, sorted by position_id and date.
    holes: the dates that could not be valued: span_no, position_id, epoch, job_id, first_date,
        last_date (both included), reason (FailureReason), instrument_no, problem_pair
        (`encode_pair`). One row per run of business days with the same reason and pair, sorted by
        span_no and first_date.
    outcomes: one row per span: span_no, status (JobStatus), valued_through (the last date, if the
        span is done; else null), rows_written (i32); and of the hole that decides the status:
        reason, instrument_no, problem_date, problem_pair, all null if the span has no hole.
    """

    rows: pl.DataFrame
    holes: pl.DataFrame
    outcomes: pl.DataFrame


def value(spans: pl.DataFrame, history: pl.DataFrame, market: Market) -> Valued:
    """Value every due date of every span whose inputs are there; the other dates are holes.

    Args:
        spans: span_no (i64, ascending), job_id, position_id (i64), epoch (i32), first_date,
            last_date (both included), calendar_no (i16), instrument_no (i32), local_no, base_no
            (i16: currencies of instrument and portfolio); sorted by position_id and first_date.
        history: position_id, position_date, quantity, cost_basis_local, cost_basis (AMOUNT): the
            position records in force on these dates.
    """
    held = _expand_holdings(spans, history, market.business_days)
    priced = _add_prices(held, market)
    valued = _compute_values(priced)
    lacking = pl.col("problem").is_not_null()
    rows = valued.filter(~lacking).select("span_no", *SNAPSHOT_COLUMNS)
    holes = _runs(valued.filter(lacking))
    return Valued(rows, holes, _outcomes(spans, rows, holes))


def in_storage_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Return snapshot rows sorted by date and position, the order of their primary key.

    Each date of a task is then contiguous in the index and in the table.

    Args:
        rows: sorted by position_id and date, so that a stable sort by date is enough. To sort by
            both columns takes five times as long.
    """
    return rows.sort("date", maintain_order=True)


def _expand_holdings(
    spans: pl.DataFrame, history: pl.DataFrame, business_days: pl.DataFrame
) -> pl.DataFrame:
    """Return one row per business day on which the position is open, its closing date included."""
    records = history.sort("position_id", "position_date").with_columns(
        previous=pl.col("quantity").shift(1).over("position_id").fill_null(0)
    )
    rows = expand_to_dates(spans, business_days).join_asof(
        records,
        left_on="date",
        right_on="position_date",
        by="position_id",
        strategy="backward",
        coalesce=False,
        check_sortedness=False,
    )
    closing = (pl.col("position_date") == pl.col("date")) & (pl.col("previous") != 0)
    return rows.filter((pl.col("quantity") != 0) | closing).with_columns(
        flat=pl.col("quantity") == 0
    )


def _add_prices(held: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Add the unit price and the rate to the base currency.

    Each distinct instrument or currency pair is looked up once per date.
    """
    invested = held.filter(~pl.col("flat"))
    prices = unit_prices(
        market, invested.select("calendar_no", "instrument_no", "date", "day_no").unique()
    )
    rates = conversion_rates(
        market,
        invested.select(
            "calendar_no", "date", "day_no", from_no="local_no", to_no="base_no"
        ).unique(),
    )
    rows = held.join(
        prices, on=["calendar_no", "instrument_no", "date"], how="left", maintain_order="left"
    ).join(
        rates,
        left_on=["calendar_no", "date", "local_no", "base_no"],
        right_on=["calendar_no", "date", "from_no", "to_no"],
        how="left",
        maintain_order="left",
    )
    of_invested = [
        pl.when(~pl.col("flat")).then(name).alias(name)
        for name in (
            "price",
            "price_date",
            "price_fx_date",
            "price_problem",
            "fx_rate",
            "fx_date",
            "fx_path",
        )
    ]
    return rows.with_columns(of_invested)


def _compute_values(priced: pl.DataFrame) -> pl.DataFrame:
    """Add values, gains and status.

    `problem` says why a row has none (FailureReason), `problem_pair` which conversion it concerns.
    """
    zero = pl.repeat(0, len(priced), dtype=pl.Int64, eager=True).cast(AMOUNT)
    local = product(priced["quantity"], priced["price"], 10).zip_with(~priced["flat"], zero)
    base = product(local, priced["fx_rate"], 10).zip_with(~priced["flat"], zero)
    gain_local = within_limit((local - priced["cost_basis_local"]).cast(AMOUNT))
    gain = within_limit((base - priced["cost_basis"]).cast(AMOUNT))
    rows = priced.with_columns(
        local.alias("market_value_local"),
        base.alias("market_value"),
        gain_local.alias("unrealized_gain_local"),
        gain.alias("unrealized_gain"),
    )
    no_rate = ~pl.col("flat") & pl.col("fx_rate").is_null()
    too_large = pl.any_horizontal(pl.col("unrealized_gain_local", "unrealized_gain").is_null())
    dated = [pl.col(name) == pl.col("date") for name in ("price_date", "price_fx_date", "fx_date")]
    current = pl.col("flat") | pl.all_horizontal(
        dated[0], dated[1].fill_null(True), dated[2] | (pl.col("fx_path") == PATH_SAME)
    )
    return rows.with_columns(
        problem=pl.coalesce(
            "price_problem",
            pl.when(no_rate).then(pl.lit(FailureReason.FX_MISSING.value)),
            pl.when(too_large).then(pl.lit(FailureReason.OVERFLOW.value)),
        ),
        problem_pair=pl.when(pl.col("price_problem").is_not_null())
        .then("price_problem_pair")
        .otherwise(encode_pair("local_no", "base_no")),
        status=pl.when(current).then(VALUED_CURRENT).otherwise(VALUED_STALE).cast(pl.Int16),
        price=pl.col("price").cast(RATE),
    )


def _runs(lacking: pl.DataFrame) -> pl.DataFrame:
    """Return the dates without a value as runs of business days; see Valued.holes."""
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("span_no", "problem", "pair")
    )
    next_day = pl.col("day_no") == pl.col("day_no").shift(1) + 1
    # Only a missing rate concerns a pair: with other reasons the pair is arbitrary.
    of_pair = pl.col("problem") == FailureReason.FX_MISSING.value
    return (
        lacking.with_columns(pair=pl.when(of_pair).then("problem_pair"))
        .with_columns(run=(~(same & next_day).fill_null(False)).cum_sum())
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("span_no", "position_id", "epoch", "job_id").first(),
            first_date=pl.col("date").first(),
            last_date=pl.col("date").last(),
            reason=pl.col("problem").first(),
            instrument_no=pl.col("instrument_no").first(),
            problem_pair=pl.col("pair").first(),
        )
        .drop("run")
    )


def _outcomes(spans: pl.DataFrame, rows: pl.DataFrame, holes: pl.DataFrame) -> pl.DataFrame:
    counts = rows.group_by("span_no").agg(rows_written=pl.len().cast(pl.Int32))
    waits = pl.col("reason").is_in([reason.value for reason in FailureReason if reason.waits])
    # A hole that waits for data fills by itself, so one that does not decides the status.
    deciding = (
        holes.sort("span_no", waits, "first_date")
        .group_by("span_no", maintain_order=True)
        .first()
        .select("span_no", "reason", "problem_pair", problem_date="first_date")
    )
    status = (
        pl.when(waits)
        .then(pl.lit(JobStatus.WAITING_FOR_DATA.value))
        .when(pl.col("reason").is_not_null())
        .then(pl.lit(JobStatus.FAILED.value))
        .when(pl.col("rows_written") == 0)
        .then(pl.lit(JobStatus.SKIPPED_NO_POSITION.value))
        .otherwise(pl.lit(JobStatus.COMPLETE.value))
    )
    return (
        spans.join(counts, on="span_no", how="left", maintain_order="left")
        .join(deciding, on="span_no", how="left", maintain_order="left")
        .with_columns(pl.col("rows_written").fill_null(0))
        .select(
            "span_no",
            "rows_written",
            "reason",
            "instrument_no",
            "problem_date",
            "problem_pair",
            status=status,
            valued_through="last_date",
        )
    )
