"""What a correction would do, by doing it: applied, fanned out and staged in a transaction that is rolled back
(engine.rehearsal), and then valued from what that transaction read. The code is the engine's own, so the plan is the one
that will be carried out.
"""

import asyncio
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.postgres.database import Database
from revalue.engine.preview.dry_run import Correct, Estimate, Plan, plan_correction
from revalue.engine.settings import Settings
from revalue.engine.value.valuer import compute

__all__ = ["Estimate", "Mover", "PortfolioChange", "Preview", "preview"]

_TOTAL = pl.Decimal(38, 10)
_AMOUNTS = "quantity cost_basis_local cost_basis market_value_local market_value unrealized_gain_local unrealized_gain".split()
_ROWS: dict[str, pl.DataType] = {
    "position_id": pl.Int64(),
    **dict.fromkeys(("date", "price_date", "fx_date"), pl.Date()),
    **dict.fromkeys(("fx_path", "status"), pl.Int16()),
    **dict.fromkeys(("price", "fx_rate"), RATE),
    **dict.fromkeys(_AMOUNTS, AMOUNT),
}


@dataclass(frozen=True)
class PortfolioChange:
    """A portfolio, in its base currency, on the date on which its value changes most: the market value, before and after,
    of its positions that would be revalued on that date."""

    portfolio_id: str
    base_currency: str
    positions: int
    position_days: int
    date: date
    market_value_before: Decimal
    market_value_after: Decimal

    @property
    def change(self) -> Decimal:
        """After less before."""
        return self.market_value_after - self.market_value_before


@dataclass(frozen=True)
class Mover:
    """A position on the date on which its market value changes most. A value that is not there counts as 0: before, it
    was not valued yet; after, the position does not exist any more."""

    portfolio_id: str
    security_id: str
    base_currency: str
    date: date
    market_value_before: Decimal
    market_value_after: Decimal

    @property
    def change(self) -> Decimal:
        """After less before."""
        return self.market_value_after - self.market_value_before


@dataclass(frozen=True)
class Preview:
    """What a correction would do.

    correction         what the correction itself would answer
    positions, position_days, first_date, last_date   what would be revalued: what the positions owe from before is part of it
    portfolios         by portfolio_id; of rows, so without positions that would wait
    movers             the biggest changes of each base currency, the biggest first
    waiting            positions that would not complete, by failure reason: readers go on seeing what they see now
    estimate           how long it would take, by the jobs done last; None: none are recorded
    values             portfolio_id, base_currency, date, market_value_before, market_value_after: every date of `portfolios`
    rows               every row that would be written, as daily_position_snapshots has them (without job_id and epoch)
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
        """All but the frames, for programs."""
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
    """What `correct` would do: an act on the database that it is given, say `lambda d: corrections.price(d, ...)`.

    Raises what the act raises, WriteConflictError when the engine or a writer is at work on the same positions just now, and
    PlanTooLongError when its positions would be held for longer than settings.preview_seconds.
    Needs two connections of the database.
    """
    # Cancelled or not, the rehearsal ends by itself: it has threads that use the connection which it rolls back.
    plan = await asyncio.shield(asyncio.create_task(plan_correction(database, correct, settings)))
    return await asyncio.to_thread(_told, plan, movers, settings)


def _told(plan: Plan, movers: int, settings: Settings) -> Preview:
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
    """The positions that would not complete, and how many by their first failure reason."""
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
    """Every position and date that changes hands: its market value before and after, null where it has none."""
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


def _movers(lines: pl.DataFrame, most: int) -> list[Mover]:
    """One line a position, the first `most` of each base currency: amounts of two currencies are not to be compared."""
    size = pl.col("change").abs()
    widest = (
        lines.filter(pl.col("change") != 0)
        .sort(size, "portfolio_id", "security_id", "date", descending=[True, False, False, True])
        .unique("position_id", keep="first", maintain_order=True)
        .group_by("base_currency", maintain_order=True)
        .head(most)
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
