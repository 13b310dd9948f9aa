"""The demo: load the sample book, value it, correct a price of the past, restate, verify, draw."""

import asyncio
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import polars as pl
from rich.progress import track

from revalue.actors.choice import choose, host_of
from revalue.actors.runner import Runner
from revalue.console import sample
from revalue.console.cli.connection import database_url, with_database
from revalue.console.cli.correction_output import affected, describe
from revalue.console.cli.output import counted, err, out, print_table
from revalue.console.cli.progress import progress_line
from revalue.console.cli.status import positions_by_state, watermarks, what_is_left
from revalue.console.cli.value import describe_run, run_as_dict
from revalue.console.cli.verify import Verified, require_agreement, verify_rows
from revalue.console.cli.verify import describe as describe_verified
from revalue.console.sample.chart import draw_totals
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.sources import FrameSource
from revalue.engine.correct.loads.load import LoadResult, load
from revalue.engine.errors import ValuationIncompleteError
from revalue.engine.operate.status import Status, count_position_days
from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from revalue.engine.read.frames import totals_by_currency
from revalue.engine.read.queries import read_price
from revalue.engine.runtime import Run
from revalue.engine.settings import Settings

SECURITY, DAY, FACTOR = "AAPL", date(2016, 3, 15), Decimal("1.05")
VERIFIED_ROWS = 100_000


def run_demo(settings: Settings, folder: Path, *, show: bool = True) -> dict[str, Any]:
    """Run every step; write the chart to `folder`.

    Args:
        show: print each step on standard output.

    Returns:
        the results of the steps, for programs.

    Raises:
        RevalueError: a stored number disagrees with the reference valuation.
        ValuationIncompleteError: a position is not current at the end.
    """

    def say(title: str, text: str) -> None:
        if show:
            out.print(title, style="bold", end="")
            out.print(f": {text}")

    begun = monotonic()
    url = database_url(settings, creates=True)
    settings = settings.model_copy(update={"database_url": url})
    revision = asyncio.run(schema.migrate(url))
    say("1. schema", f"revision {revision}")
    loaded = with_database(settings, _load)
    say(
        "2. sample book",
        f"{counted(sum(each.rows for each in loaded), 'row')} loaded, "
        f"{sum(each.inserted + each.changed for each in loaded):,} of them new or changed",
    )
    with Runner(host_of(choose(url, settings).runtime, settings), url, settings) as runner:
        first = _value(runner, "valuing to the horizon")
        say("3. valued to the horizon", describe_run(first))
        before = with_database(settings, totals_by_currency)
        correction = with_database(settings, _correct)
        say("4. corrected", f"{describe(correction)}; {affected(correction)}")
        second = _value(runner, "restating")
        say("5. restated", describe_run(second))
    after = with_database(settings, totals_by_currency)
    changes = _changes(before, after)
    if show:
        _print_changes(changes)
    verified = with_database(settings, _verify)
    say("6. reference valuation", describe_verified(verified))
    chart = (folder / "revalue-demo.png").resolve()
    draw_totals(
        after,
        chart,
        title="Market value and unrealized gain of the sample book, by base currency",
    )
    position_days = with_database(settings, count_position_days)
    say("summary", _summary(second.status, position_days))
    seconds = monotonic() - begun
    if show:
        out.print(f"chart: {chart}\ntotal time: {seconds:.0f} s")
    require_agreement(verified)
    return {
        "revision": revision,
        "loaded": loaded,
        "valued": run_as_dict(first),
        "correction": correction,
        "restated": run_as_dict(second),
        "changes": changes.to_dicts(),
        "verified": asdict(verified),
        "position_days": position_days,
        "chart": chart,
        "seconds": round(seconds, 1),
    }


async def _load(database: Database) -> list[LoadResult]:
    """Load the sample book, and open all its days."""
    frames = sample.frames()
    loaded = [
        await load(database, Kind(kind), FrameSource(frames[kind], "the sample book"))
        for kind in track(
            frames,
            description="loading the sample book",
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
    ]
    await open_calendars(database, sample.LAST_DAY, [sample.CALENDAR])
    return loaded


def _value(runner: Runner, title: str) -> Run:
    with progress_line(title) as on_progress:
        run = runner.until_quiet(on_progress)
    if not run.status.is_current:
        raise ValuationIncompleteError(what_is_left(run.status))
    return run


async def _correct(database: Database) -> corrections.Correction:
    old = await read_price(database, SECURITY, DAY)
    return await corrections.price(
        database, SECURITY, DAY, (old * FACTOR).quantize(Decimal("0.001"))
    )


async def _verify(database: Database) -> Verified:
    return await verify_rows(database, rows=VERIFIED_ROWS, seed=1)


def _changes(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Return the totals per base currency and date that differ, and by how much."""
    value, gain = "market_value", "unrealized_gain"
    return (
        before.join(after, on=["base_currency", "date"], suffix="_after")
        .select(
            "base_currency",
            "date",
            market_value_before=value,
            market_value_after=f"{value}_after",
            market_value_change=pl.col(f"{value}_after") - pl.col(value),
            unrealized_gain_change=pl.col(f"{gain}_after") - pl.col(gain),
        )
        .filter((pl.col("market_value_change") != 0) | (pl.col("unrealized_gain_change") != 0))
        .sort("base_currency", "date")
    )


def _print_changes(changes: pl.DataFrame) -> None:
    # Five columns, so that no amount is broken on a terminal of 80 columns.
    print_table(
        "Change of market value by the correction, per base currency",
        ("base", "date", "before", "after", "change"),
        [
            (currency, day, *(f"{amount:,.2f}" for amount in amounts))
            for currency, day, *amounts in changes.drop("unrealized_gain_change").iter_rows()
        ],
    )
    if changes["market_value_change"].equals(changes["unrealized_gain_change"]):
        out.print(
            "The unrealized gains change by the same amounts: the cost bases have not changed."
        )
        return
    print_table(
        "Change of unrealized gain",
        ("base", "date", "change"),
        [
            (row["base_currency"], row["date"], f"{row['unrealized_gain_change']:,.2f}")
            for row in changes.iter_rows(named=True)
        ],
    )


def _summary(status: Status, position_days: int) -> str:
    states = "all current" if status.is_current else positions_by_state(status)
    return (
        f"{counted(status.total, 'position')}, {states}; "
        f"{counted(position_days, 'position-day')}; {watermarks(status)}"
    )
