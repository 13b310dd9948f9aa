"""The inputs of one task, read in one snapshot of the database."""

from dataclasses import dataclass

import polars as pl

from revalue.engine.core.calendar import number_business_days
from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.market import Market
from revalue.engine.core.tasks import Task
from revalue.engine.errors import DatabaseSetupError
from revalue.engine.postgres.arrow import Reader, Snapshot
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_PART_ROWS = 50_000
_PART_DAYS = 2_000_000
_DENSE = 8
"""From one in so many positions on, reading a whole range costs less than looking each one up."""


@dataclass(frozen=True)
class TaskInputs:
    """All that a task is valued from.

    spans: see engine.core.valuation.value; also attempt_count, and span_count: how many spans
        the job has in all.
    history: see engine.core.valuation.value.
    market: the market data that the spans' dates need.
    securities: instrument_no, security_id of each instrument.
    currencies: currency_no, currency of each currency.
    """

    spans: pl.DataFrame
    history: pl.DataFrame
    market: Market
    securities: pl.DataFrame
    currencies: pl.DataFrame


def read_inputs(reader: Reader, task: Task) -> TaskInputs | None:
    """Read the inputs of a task in one snapshot. Blocks.

    Returns:
        The inputs, or None when no span belongs to the attempt any more.

    Raises:
        DatabaseUnavailableError: the database cannot be read.
        DatabaseSetupError: a table, a column, a right or the valuation policy is missing.
    """
    with reader.snapshot() as snapshot:
        spans = _with_positions(snapshot, snapshot.read(sql("spans"), **task.parameters))
        return None if spans.is_empty() else read_inputs_of(snapshot, numbered(spans))


def _with_positions(snapshot: Snapshot, spans: pl.DataFrame) -> pl.DataFrame:
    """Add what a valuation needs of their positions; leave out spans of older epochs.

    Joined here: PostgreSQL cannot estimate how many spans a job has, and would look up one position
    after the other.
    """
    if spans.is_empty():
        return spans
    first, last = int(spans["position_id"][0]), int(spans["position_id"][-1])
    if last - first < _DENSE * len(spans):
        positions = snapshot.read(
            sql("positions_between"), first_position=first, last_position=last
        )
    else:
        positions = snapshot.read(
            sql("positions_listed"), positions=spans["position_id"].unique().sort()
        )
    return spans.join(positions, on=["position_id", "epoch"], maintain_order="left")


def numbered(spans: pl.DataFrame) -> pl.DataFrame:
    """Add span_no (i64), which tells the spans of an attempt apart."""
    return spans.with_columns(span_no=pl.int_range(pl.len(), dtype=pl.Int64))


def read_inputs_of(snapshot: Snapshot, spans: pl.DataFrame) -> TaskInputs:
    """Read the inputs of spans in an open snapshot. Blocks.

    Args:
        spans: span_no and the columns of spans.sql and positions_between.sql; at least one span.
    """
    positions = _needed_days(spans, "position_id")
    history = [
        snapshot.read(
            sql("history"),
            positions=part["position_id"],
            first_days=part["first_day"],
            last_days=part["last_day"],
        )
        for part in _parts(positions)
    ]
    needed = _needed_days(spans, "instrument_no")
    prices = [
        snapshot.read(
            sql("prices"),
            instruments=part["instrument_no"],
            first_days=part["first_day"],
            last_days=part["last_day"],
        )
        for part in _parts(needed)
    ]
    instruments = snapshot.read(sql("instruments"), instruments=needed["instrument_no"])
    first_date, last_date = spans.select(pl.col("first_date").min(), pl.col("last_date").max()).row(
        0
    )
    rates = snapshot.read(sql("rates"), first_date=first_date, last_date=last_date)
    business_days = read_business_days(snapshot)
    currencies = snapshot.read(sql("currencies"))
    policy = snapshot.read(sql("policy"))
    if policy.is_empty():
        raise DatabaseSetupError(
            "the table valuation_policy has no row: insert the pivot currency and the age limit of "
            "FX rates again"
        )
    market = Market(
        business_days=business_days,
        currencies=currencies.select("currency_no", "major_no", "units_per_major"),
        instruments=instruments.drop("security_id").with_columns(
            pl.col("contract_multiplier").cast(pl.Decimal(38, 6))
        ),
        prices=pl.concat(prices).with_columns(pl.col("price").cast(AMOUNT)),
        rates=rates.with_columns(pl.col("rate").cast(RATE)),
        pivot_no=int(policy["pivot_no"][0]),
        fx_max_age=int(policy["fx_max_age_sessions"][0]),
    )
    return TaskInputs(
        spans=spans,
        history=pl.concat(history).with_columns(
            pl.col("quantity", "cost_basis_local", "cost_basis").cast(AMOUNT)
        ),
        market=market,
        securities=instruments.select("instrument_no", "security_id"),
        currencies=currencies.select("currency_no", "currency"),
    )


def read_business_days(snapshot: Snapshot) -> pl.DataFrame:
    """Read every opened business day of every calendar, numbered (see engine.core.calendar)."""
    return number_business_days(snapshot.read(sql("business_days")))


def _parts(needed: pl.DataFrame) -> list[pl.DataFrame]:
    """Split days into parts for one statement each; those of a task of usual size are one part."""
    days = (needed["last_day"] - needed["first_day"] + 1).cast(pl.Int64).cum_sum()
    if len(needed) <= _PART_ROWS and days[-1] <= _PART_DAYS:
        return [needed]
    places = pl.int_range(len(needed), eager=True)
    parts = needed.with_columns(_part=places // _PART_ROWS + (days - 1) // _PART_DAYS)
    return [part.drop("_part") for part in parts.partition_by("_part", maintain_order=True)]


def _needed_days(spans: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return the first and the last day that the spans need, per distinct values of the columns.

    first_day and last_day are counted from 1970-01-01; both are included.
    """
    return (
        spans.lazy()
        .group_by(columns)
        .agg(
            first_day=pl.col("first_date").min().to_physical(),
            last_day=pl.col("last_date").max().to_physical(),
        )
        .sort(columns)
        .collect()
    )
