"""The inputs of one task, read in one snapshot of the database."""

from dataclasses import dataclass

import polars as pl

from revalue.engine.core.calendar import number_business_days
from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.market import Market
from revalue.engine.core.tasks import Task
from revalue.engine.postgres.arrow import Reader, Snapshot
from revalue.engine.postgres.statement import statements

sql = statements(__package__)


@dataclass(frozen=True)
class TaskInputs:
    """All that a task is valued from.

    jobs: see engine.core.valuation.value; also attempt_count.
    history: see engine.core.valuation.value.
    market: the market data that the jobs' dates need.
    securities: instrument_no, security_id of each instrument.
    currencies: currency_no, currency of each currency.
    """

    jobs: pl.DataFrame
    history: pl.DataFrame
    market: Market
    securities: pl.DataFrame
    currencies: pl.DataFrame


def read_inputs(reader: Reader, task: Task) -> TaskInputs | None:
    """Read the inputs of a task in one snapshot. Blocks.

    Returns:
        The inputs, or None when no job belongs to the task any more.

    Raises:
        DatabaseUnavailableError: the database cannot be read.
    """
    with reader.snapshot() as snapshot:
        jobs = snapshot.read(sql("jobs"), **task.parameters)
        if jobs.is_empty():
            return None
        positions, needed = (
            _spans(jobs, "position_id", "history_epoch"),
            _spans(jobs, "instrument_no"),
        )
        days = {"first_days": positions["first_day"], "last_days": positions["last_day"]}
        history = snapshot.read(
            sql("history"),
            positions=positions["position_id"],
            epochs=positions["history_epoch"],
            **days,
        )
        days = {"first_days": needed["first_day"], "last_days": needed["last_day"]}
        prices = snapshot.read(sql("prices"), instruments=needed["instrument_no"], **days)
        instruments = snapshot.read(sql("instruments"), instruments=needed["instrument_no"])
        first_date, last_date = jobs.select(
            pl.col("first_date").min(), pl.col("last_date").max()
        ).row(0)
        rates = snapshot.read(sql("rates"), first_date=first_date, last_date=last_date)
        business_days = read_business_days(snapshot)
        currencies = snapshot.read(sql("currencies"))
        policy = snapshot.read(sql("policy"))
    market = Market(
        business_days=business_days,
        currencies=currencies.select("currency_no", "major_no", "units_per_major"),
        instruments=instruments.drop("security_id").with_columns(
            pl.col("contract_multiplier").cast(pl.Decimal(38, 6))
        ),
        prices=prices.with_columns(pl.col("price").cast(AMOUNT)),
        rates=rates.with_columns(pl.col("rate").cast(RATE)),
        pivot_no=int(policy["pivot_no"][0]),
        fx_max_age=int(policy["fx_max_age_sessions"][0]),
    )
    return TaskInputs(
        jobs=jobs,
        history=history.with_columns(
            pl.col("quantity", "cost_basis_local", "cost_basis").cast(AMOUNT)
        ),
        market=market,
        securities=instruments.select("instrument_no", "security_id"),
        currencies=currencies.select("currency_no", "currency"),
    )


def read_business_days(snapshot: Snapshot) -> pl.DataFrame:
    """Read every business day of every calendar, numbered (see engine.core.calendar)."""
    return number_business_days(snapshot.read(sql("business_days")))


def _spans(jobs: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return the first and the last day that the jobs need, per distinct values of the columns.

    first_day and last_day are counted from 1970-01-01; both are included.
    """
    return (
        jobs.lazy()
        .group_by(columns)
        .agg(
            first_day=pl.col("first_date").min().to_physical(),
            last_day=pl.col("last_date").max().to_physical(),
        )
        .sort(columns)
        .collect()
    )
