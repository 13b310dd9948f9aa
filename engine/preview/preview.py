"""Preview a correction: make it in a transaction that is rolled back, and value what it affects.

What is affected, due and read is found by engine.preview.plan. It is valued in pages, after the
transaction has ended, and each page is compared with what readers see and added up: memory does not
grow with the number of position-days.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import polars as pl

from revalue.engine.core.batching import assign_jobs
from revalue.engine.core.decimals import AMOUNT
from revalue.engine.core.eligibility import cut_to_business_days
from revalue.engine.core.lifecycle import FailureReason
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.overlay import newest_of_both
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.transaction_reader import read_frame
from revalue.engine.preview.changes import Changes, Mover, PortfolioChange, ValuedPage
from revalue.engine.preview.plan import Correct, Estimate, Hold, Plan, plan_correction
from revalue.engine.settings import Settings
from revalue.engine.value.computation import compute
from revalue.engine.value.inputs import TaskInputs

__all__ = ["Estimate", "Mover", "OnProgress", "OnRows", "PortfolioChange", "Preview", "preview"]

sql = statements(__package__)

PAGE_ROWS = 250_000
"""Position-days that are valued at once: about 300 MB. A position is never split."""

OnRows = Callable[[pl.DataFrame], None]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Preview:
    """What a correction would do.

    Attributes:
        correction: what the correction itself would return.
        positions: positions that would be revalued. Dates that were due before are part of it.
        position_days: their position-days that would be revalued.
        first_date: the first of these dates; None: there is none.
        last_date: the last of these dates; None: there is none.
        portfolios: the change per portfolio, by portfolio_id; without dates that would have no
            value.
        movers: the biggest changes per base currency, the biggest first.
        waiting: number of positions with a date that would have no value, or that would fail, by
            reason. Of several dates the first one gives the reason, except that reasons which no
            data can resolve come first.
        without_value: position-days that would have no value, because data is missing or the value
            is too large.
        estimate: how long it would take; None: no finished job is recorded.
        values: portfolio_id, base_currency, date, market_value_before and market_value_after
            (Decimal(38, 10), base currency), for every date of `portfolios`.
    """

    correction: Any
    positions: int
    position_days: int
    first_date: date | None
    last_date: date | None
    portfolios: list[PortfolioChange]
    movers: list[Mover]
    waiting: dict[str, int]
    without_value: int
    estimate: Estimate | None
    values: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Return everything except the frame."""
        named = (
            *("correction", "positions", "position_days", "first_date", "last_date"),
            *("waiting", "without_value"),
        )
        return {
            **{name: getattr(self, name) for name in named},
            "portfolios": [{**vars(each), "change": each.change} for each in self.portfolios],
            "movers": [{**vars(each), "change": each.change} for each in self.movers],
            "estimated_seconds": self.estimate and self.estimate.seconds,
            "estimate": self.estimate and vars(self.estimate),
        }


@dataclass(frozen=True)
class _Page:
    """Some positions of a plan, each with all of its dates.

    inputs: what is valued; None: nothing.
    seen: position_id, first_date, last_date (both included): which rows of readers are compared.
    rows: position-days that are valued.
    """

    inputs: TaskInputs | None
    seen: pl.DataFrame
    rows: int


async def preview(
    database: Database,
    correct: Correct,
    settings: Settings,
    *,
    movers: int = 10,
    on_rows: OnRows | None = None,
    on_progress: OnProgress | None = None,
) -> Preview:
    """Return what a correction would do, without making it.

    Args:
        database: needs two connections.
        correct: makes the correction on the database that it is given, for example
            `lambda database: corrections.price(database, ...)`.
        settings: max_attempts and preview_seconds.
        movers: how many movers per base currency, at most.
        on_rows: called, in another thread, with each page of rows that would be written: the
            columns of daily_position_snapshots without job_id and epoch.
        on_progress: called when the plan is made and after each page, with the number of
            position-days that are valued, and of all of them.

    Raises:
        WriteConflictError: a writer is at work on the same data.
        PlanTooLongError: the plan would take longer than settings.preview_seconds.
        PreviewTooLargeError: the preview would take too much memory.
        RevalueError: what `correct` raises.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as readers:
        hold = Hold(settings.preview_seconds)
        planning = asyncio.create_task(plan_correction(database, readers, correct, hold, settings))
        try:
            plan = await asyncio.shield(planning)
        except asyncio.CancelledError:
            # The plan ends by itself, before its next statement: threads use its connection.
            hold.abandon()
            planning.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise
        changes = Changes(plan.positions, movers)
        done, total = 0, int(plan.ranges["rows"].sum())
        for page in _pages(plan):
            if on_progress is not None:
                on_progress(done, total)
            await _add(page, readers, changes, settings, on_rows)
            done += page.rows
    if on_progress is not None:
        on_progress(done, total)
    values = await asyncio.to_thread(changes.values)
    first, last = plan.ranges.select(pl.col("first_date").min(), pl.col("last_date").max()).row(0)
    return Preview(
        correction=plan.correction,
        positions=len(plan.positions),
        position_days=total,
        first_date=first,
        last_date=last,
        portfolios=await asyncio.to_thread(changes.portfolios, values),
        movers=changes.movers(),
        waiting=changes.waiting,
        without_value=changes.without_value,
        estimate=plan.estimate,
        values=values,
    )


def _pages(plan: Plan) -> Iterator[_Page]:
    """Split a plan into pages of about PAGE_ROWS position-days, compared ones included."""
    days = (pl.col("last_date") - pl.col("first_date")).dt.total_days() + 1
    spans = pl.concat([plan.ranges, plan.leaving.with_columns(rows=days.cast(pl.Int32))]).sort(
        "position_id"
    )
    if spans.is_empty():
        return
    ends = (
        assign_jobs(spans, PAGE_ROWS)
        .group_by("job_no", maintain_order=True)
        .agg(
            pl.col("position_id").first().alias("first"), pl.col("position_id").last().alias("last")
        )
    )
    for _, first, last in ends.iter_rows():
        mine = pl.col("position_id").is_between(first, last)
        ranges = plan.ranges.filter(mine)
        seen = pl.concat([ranges.drop("rows"), plan.leaving.filter(mine)])
        inputs = None if ranges.is_empty() else _part(plan.inputs, mine)
        yield _Page(inputs, seen, int(ranges["rows"].sum()))


def _part(inputs: TaskInputs | None, mine: pl.Expr) -> TaskInputs:
    """Return the inputs of some positions."""
    assert inputs is not None, "where there are ranges there are inputs"
    spans = inputs.spans.filter(mine)
    prices = inputs.market.prices.join(
        spans.select("instrument_no").unique(), on="instrument_no", how="semi"
    )
    return replace(
        inputs,
        spans=spans,
        history=inputs.history.filter(mine),
        market=replace(inputs.market, prices=prices),
    )


async def _add(
    page: _Page,
    readers: Connection,
    changes: Changes,
    settings: Settings,
    on_rows: OnRows | None,
) -> None:
    """Value a page, read what readers see of it at the same time, and add it to the changes."""
    before, valued = await asyncio.gather(
        _before(readers, page.seen), asyncio.to_thread(_value, page.inputs, settings)
    )

    def add() -> None:
        if on_rows is not None and len(valued.rows):
            on_rows(valued.rows)
        changes.add(before, valued)

    await asyncio.to_thread(add)


async def _before(readers: Connection, seen: pl.DataFrame) -> pl.DataFrame:
    """Return what readers see now in the ranges."""
    ranges = {
        "positions": seen["position_id"],
        "first_days": seen["first_date"].to_physical(),
        "last_days": seen["last_date"].to_physical(),
    }
    rows = await read_frame(readers, sql("published_rows").rendered(**ranges))
    rows = rows.with_columns(pl.col("market_value").cast(AMOUNT))
    lake = await Lake.of(readers)
    if lake is not None:
        readable = await read_frame(readers, sql("readable_ranges").rendered(**ranges))
        of_lake = await lake.newest(readers, readable, ("market_value",))
        rows = newest_of_both(rows, of_lake, ("position_id", "date"))
    return rows.drop("epoch")


def _value(inputs: TaskInputs | None, settings: Settings) -> ValuedPage:
    if inputs is None:
        return _NOTHING
    valued = compute(inputs, max_attempts=settings.max_attempts)
    spans = inputs.spans.select("span_no", "position_id", "calendar_no")
    outcomes = valued.outcomes.join(spans, on="span_no").filter(pl.col("reason").is_not_null())
    waits = pl.col("reason").is_in([reason.value for reason in FailureReason if reason.waits])
    holes = cut_to_business_days(
        valued.holes.join(spans.select("span_no", "calendar_no"), on="span_no"),
        inputs.market.business_days,
    )
    return ValuedPage(
        rows=valued.rows.drop("span_no", "job_id", "epoch") if len(valued.rows) else _NOTHING.rows,
        holes=holes,
        # As position_status chooses: a hole that does not wait for data gives the reason.
        reasons=outcomes.sort("position_id", waits, "problem_date")
        .unique("position_id", keep="first", maintain_order=True)
        .select("position_id", "failure_reason"),
        failed=outcomes.filter(pl.col("valued_through").is_null())["position_id"],
    )


_NOTHING = ValuedPage(
    rows=pl.DataFrame(
        schema={"position_id": pl.Int64(), "date": pl.Date(), "market_value": AMOUNT}
    ),
    holes=pl.DataFrame(
        schema={
            "position_id": pl.Int64(),
            "first_date": pl.Date(),
            "last_date": pl.Date(),
            "rows": pl.Int32(),
        }
    ),
    reasons=pl.DataFrame(schema={"position_id": pl.Int64(), "failure_reason": pl.String()}),
    failed=pl.Series(dtype=pl.Int64()),
)
