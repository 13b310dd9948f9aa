"""The valuation of a task: jobs, history and market in; snapshot rows and one outcome a job out.

The rules are those of docs/valuation.md. Nothing here knows a database or a clock.
"""

from dataclasses import dataclass

import polars as pl

from revalue.engine.core.calendar import expand_to_dates
from revalue.engine.core.decimals import AMOUNT, RATE, product, within_limit
from revalue.engine.core.lifecycle import FailureReason, JobStatus
from revalue.engine.core.market import PATH_SAME, Market, conversion_rates, unit_prices

VALUED_CURRENT, VALUED_STALE = 0, 1

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


@dataclass(frozen=True)
class Valued:
    """rows: SNAPSHOT_COLUMNS, sorted by position_id and date.

    outcomes: one row a job: job_id, status (JobStatus), valued_through (the last date that needs nothing more, or
    null), rows_written (i32), reason (FailureReason or null), instrument_no, problem_date, problem_pair (of the first date that
    could not be valued).
    """

    rows: pl.DataFrame
    outcomes: pl.DataFrame


def value(jobs: pl.DataFrame, history: pl.DataFrame, market: Market) -> Valued:
    """Values every owed date of every job.

    jobs     job_id, position_id (i64), epoch (i32), first_date, last_date (both included), calendar_no (i16),
             instrument_no (i32), local_no, base_no (i16: currencies of instrument and portfolio); sorted by
             position_id and first_date
    history  position_id, position_date, quantity, cost_basis_local, cost_basis (AMOUNT): the facts in force
    """
    held = _held(jobs, history, market.business_days)
    priced = _priced(held, market)
    valued = _multiplied(priced)
    holes = (
        valued.filter(pl.col("problem").is_not_null())
        .group_by("job_id")
        .agg(pl.all().sort_by("date").first())
        .select(
            "job_id",
            problem_date="date",
            reason="problem",
            problem_pair="problem_pair",
        )
    )
    rows = valued.join(
        holes.select("job_id", "problem_date"), on="job_id", how="left", maintain_order="left"
    ).filter(pl.col("problem_date").is_null() | (pl.col("date") < pl.col("problem_date")))
    return Valued(rows.select(SNAPSHOT_COLUMNS), _outcomes(jobs, rows, holes))


def _held(jobs: pl.DataFrame, history: pl.DataFrame, business_days: pl.DataFrame) -> pl.DataFrame:
    """One row a business day on which the position is open: the closing date is, a date while it is closed is not."""
    facts = history.sort("position_id", "position_date").with_columns(
        previous=pl.col("quantity").shift(1).over("position_id").fill_null(0)
    )
    rows = expand_to_dates(jobs, business_days).join_asof(
        facts,
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


def _priced(held: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Adds the unit price and the rate to base, looked up once for each distinct instrument, currency pair and date."""
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


def _multiplied(priced: pl.DataFrame) -> pl.DataFrame:
    """Values, gains and status; `problem` names why a row has none, and `problem_pair` the conversion it concerns."""
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
        .otherwise(pl.col("local_no").cast(pl.Int64) * 65536 + pl.col("base_no").cast(pl.Int64)),
        status=pl.when(current).then(VALUED_CURRENT).otherwise(VALUED_STALE).cast(pl.Int16),
        price=pl.col("price").cast(RATE),
    )


def _outcomes(jobs: pl.DataFrame, rows: pl.DataFrame, holes: pl.DataFrame) -> pl.DataFrame:
    counts = rows.group_by("job_id").agg(rows_written=pl.len().cast(pl.Int32))
    before_hole = pl.col("problem_date") - pl.duration(days=1)
    waiting = [reason.value for reason in FailureReason if reason.waits]
    status = (
        pl.when(pl.col("reason").is_in(waiting))
        .then(pl.lit(JobStatus.WAITING_FOR_DATA.value))
        .when(pl.col("reason").is_not_null())
        .then(pl.lit(JobStatus.FAILED.value))
        .when(pl.col("rows_written") == 0)
        .then(pl.lit(JobStatus.SKIPPED_NO_POSITION.value))
        .otherwise(pl.lit(JobStatus.COMPLETE.value))
    )
    return (
        jobs.join(counts, on="job_id", how="left", maintain_order="left")
        .join(holes, on="job_id", how="left", maintain_order="left")
        .with_columns(pl.col("rows_written").fill_null(0))
        .select(
            "job_id",
            "rows_written",
            "reason",
            "instrument_no",
            "problem_date",
            "problem_pair",
            status=status,
            valued_through=pl.when(pl.col("reason").is_null())
            .then("last_date")
            .when(before_hole >= pl.col("first_date"))
            .then(before_hole),
        )
    )
