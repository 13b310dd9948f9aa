"""Preview a correction: make, fan out and stage it in a rolled back transaction, then value it.

The plan is made by the code that carries it out (engine.preview.dry_run), so the two cannot differ.
"""

import asyncio
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.core.valuation import AMOUNT_COLUMNS
from revalue.engine.postgres.database import Database
from revalue.engine.preview.dry_run import Correct, Estimate, Plan, plan_correction
from revalue.engine.settings import Settings
from revalue.engine.value.valuer import compute

__all__ = ["Estimate", "Mover", "PortfolioChange", "Preview", "preview"]

_TOTAL = pl.Decimal(38, 10)
_ROWS: dict[str, pl.DataType] = {
    "position_id": pl.Int64(),
    **dict.fromkeys(("date", "price_date", "fx_date"), pl.Date()),
    **dict.fromkeys(("fx_path", "status"), pl.Int16()),
    **dict.fromkeys(("price", "fx_rate"), RATE),
    **dict.fromkeys(AMOUNT_COLUMNS, AMOUNT),
}


@dataclass(frozen=True)
class PortfolioChange:
    """How much a correction changes a portfolio, on the date on which it changes most.

    Attributes:
        portfolio_id: the portfolio.
        base_currency: the currency of the market values.
        positions: its positions that would be revalued.
        position_days: their position-days that would be revalued.
        date: the date on which the sum of the market values changes most.
        market_value_before: of the positions that would be revalued on that date, now.
        market_value_after: the same after the correction.
    """

    portfolio_id: str
    base_currency: str
    positions: int
    position_days: int
    date: date
    market_value_before: Decimal
    market_value_after: Decimal

    @property
    def change(self) -> Decimal:
        """market_value_after - market_value_before."""
        return self.market_value_after - self.market_value_before


@dataclass(frozen=True)
class Mover:
    """A position on the date on which its market value (base currency) changes most.

    A missing value counts as 0: before, if the date is not valued yet; after, if the position is
    not open on it any more.
    """

    portfolio_id: str
    security_id: str
    base_currency: str
    date: date
    market_value_before: Decimal
    market_value_after: Decimal

    @property
    def change(self) -> Decimal:
        """market_value_after - market_value_before."""
        return self.market_value_after - self.market_value_before


@dataclass(frozen=True)
class Preview:
    """What a correction would do.

    Attributes:
        correction: what the correction itself would return.
        positions: positions that would be revalued. Dates that were due before are part of it.
        position_days: their position-days that would be revalued.
        first_date: the first of these dates; None: there is none.
        last_date: the last of these dates; None: there is none.
        portfolios: the change per portfolio, by portfolio_id; without positions that would wait.
        movers: the biggest changes per base currency, the biggest first.
        waiting: number of positions that would not complete, by failure reason; readers would
            continue to see the present values.
        estimate: how long it would take; None: no finished job is recorded.
        values: portfolio_id, base_currency, date, market_value_before and market_value_after
            (Decimal(38, 10), base currency), for every date of `portfolios`.
        rows: every row that would be written, in the columns of daily_position_snapshots without
            job_id and epoch.
    """

    correction: Any
    positions: int
    position_days: int
    first_date: date | None
    last_date: date | None
    portfolios: list[PortfolioChange]
    movers: list[Mover]
    waiting: dict[str, int]
    estimate: Estimate | None
    values: pl.DataFrame
    rows: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Return everything except the frames."""
        named = ("correction", "positions", "position_days", "first_date", "last_date", "waiting")
        return {
            **{name: getattr(self, name) for name in named},
            "portfolios": [{**vars(each), "change": each.change} for each in self.portfolios],
            "movers": [{**vars(each), "change": each.change} for each in self.movers],
            "estimated_seconds": self.estimate and self.estimate.seconds,
            "estimate": self.estimate and vars(self.estimate),
        }


async def preview(
    database: Database, correct: Correct, settings: Settings, *, movers: int = 10
) -> Preview:
    """Return what a correction would do, without making it.

    Args:
        database: needs two connections.
        correct: makes the correction on the database that it is given, for example
            `lambda database: corrections.price(database, ...)`.
        settings: task sizes, max_attempts and preview_seconds.
        movers: how many movers per base currency, at most.

    Raises:
        WriteConflictError: the engine or a writer is at work on the same positions.
        PlanTooLongError: the plan would take longer than settings.preview_seconds.
        RevalueError: what `correct` raises.
    """
    # If this call is cancelled, the plan still ends by itself: threads use its connection.
    plan = await asyncio.shield(asyncio.create_task(plan_correction(database, correct, settings)))
    return await asyncio.to_thread(_preview, plan, movers, settings)


def _preview(plan: Plan, movers: int, settings: Settings) -> Preview:
    valued = [compute(inputs, max_attempts=settings.max_attempts) for inputs in plan.inputs]
    jobs = (
        pl.concat([inputs.jobs.select("job_id", "position_id") for inputs in plan.inputs])
        if valued
        else None
    )
    outcomes = (
        pl.concat([each.outcomes for each in valued]).join(jobs, on="job_id")
        if jobs is not None
        else None
    )
    stuck, waiting = _stuck(outcomes)
    written = [each.rows for each in valued if len(each.rows)]
    rows = pl.concat(written).drop("job_id", "epoch") if written else pl.DataFrame(schema=_ROWS)
    lines = _lines(plan, rows, stuck)
    values = _values(lines)
    days = int(plan.ranges["rows"].sum())
    return Preview(
        correction=plan.correction,
        positions=len(plan.positions),
        position_days=days,
        first_date=plan.ranges["first_date"].min(),  # type: ignore[arg-type]
        last_date=plan.ranges["last_date"].max(),  # type: ignore[arg-type]
        portfolios=_portfolios(lines, values),
        movers=_movers(lines, movers),
        waiting=waiting,
        estimate=plan.estimate,
        values=values,
        rows=rows,
    )


def _stuck(outcomes: pl.DataFrame | None) -> tuple[pl.Series, dict[str, int]]:
    """Return the positions that would not complete, and their number by first failure reason."""
    if outcomes is None:
        return pl.Series(dtype=pl.Int64), {}
    done = [JobStatus.COMPLETE.value, JobStatus.SKIPPED_NO_POSITION.value]
    first = (
        outcomes.filter(~pl.col("status").is_in(done))
        .sort("position_id", "problem_date")
        .unique("position_id", keep="first", maintain_order=True)
    )
    counted = first.group_by("failure_reason").len().sort("failure_reason")
    return first["position_id"], dict(counted.iter_rows())


def _lines(plan: Plan, rows: pl.DataFrame, stuck: pl.Series) -> pl.DataFrame:
    """Return the market value before and after of each position and date; a missing one is 0."""
    return (
        plan.before.select("position_id", "date", before="market_value")
        .join(
            rows.select("position_id", "date", after="market_value"),
            on=["position_id", "date"],
            how="full",
            coalesce=True,
        )
        .filter(~pl.col("position_id").is_in(stuck.implode()))
        .join(plan.positions, on="position_id")
        .with_columns(pl.col("before", "after").cast(_TOTAL).fill_null(pl.lit(0).cast(_TOTAL)))
        .with_columns(change=pl.col("after") - pl.col("before"))
    )


def _values(lines: pl.DataFrame) -> pl.DataFrame:
    return (
        lines.group_by("portfolio_id", "base_currency", "date")
        .agg(
            market_value_before=pl.col("before").sum(),
            market_value_after=pl.col("after").sum(),
        )
        .sort("portfolio_id", "date")
    )


def _portfolios(lines: pl.DataFrame, values: pl.DataFrame) -> list[PortfolioChange]:
    counts = lines.group_by("portfolio_id").agg(
        positions=pl.col("position_id").n_unique(), position_days=pl.len()
    )
    change = pl.col("market_value_after") - pl.col("market_value_before")
    widest = (
        values.sort("portfolio_id", change.abs(), "date", descending=[False, True, True])
        .unique("portfolio_id", keep="first", maintain_order=True)
        .join(counts, on="portfolio_id", maintain_order="left")
    )
    return [PortfolioChange(**row) for row in widest.iter_rows(named=True)]


def _movers(lines: pl.DataFrame, limit: int) -> list[Mover]:
    """Return one mover per position, the first `limit` per base currency.

    Per currency, because amounts of two currencies cannot be compared.
    """
    size = pl.col("change").abs()
    widest = (
        lines.filter(pl.col("change") != 0)
        .sort(size, "portfolio_id", "security_id", "date", descending=[True, False, False, True])
        .unique("position_id", keep="first", maintain_order=True)
        .group_by("base_currency", maintain_order=True)
        .head(limit)
        .sort("base_currency", size, descending=[False, True], maintain_order=True)
        .rename({"before": "market_value_before", "after": "market_value_after"})
    )
    named = (
        "portfolio_id",
        "security_id",
        "base_currency",
        "date",
        "market_value_before",
        "market_value_after",
    )
    return [Mover(**row) for row in widest.select(named).iter_rows(named=True)]
