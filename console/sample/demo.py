"""The whole walk on the sample book: load, value, correct one price in the past, reprocess, verify, draw."""

import asyncio
from datetime import date
from decimal import Decimal
from pathlib import Path
from time import monotonic

import polars as pl
from rich.progress import track

from revalue.actors.runner import Runner
from revalue.console import sample
from revalue.console.cli.connection import database_url, with_database
from revalue.console.cli.output import err, out, print_table, tidy
from revalue.console.cli.progress import progress_line
from revalue.console.cli.verify import Verified, verify_rows
from revalue.console.sample.chart import draw_totals
from revalue.engine.correct import corrections
from revalue.engine.correct.ingest import Kind, LoadResult, load
from revalue.engine.errors import RevalueError, ValuationIncompleteError
from revalue.engine.operate.status import count_position_days
from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from revalue.engine.read.queries import read_price, totals_by_currency
from revalue.engine.runtime import Run
from revalue.engine.settings import Settings

SECURITY, DAY, FACTOR = "AAPL", date(2016, 3, 15), Decimal("1.05")
VERIFIED_ROWS = 100_000


def run_demo(settings: Settings, folder: Path) -> None:
    """Runs it; raises RevalueError when a number disagrees with the oracle or a position is not current at the end."""
    begun = monotonic()
    url = database_url(settings)
    settings = settings.model_copy(update={"database_url": url})
    out.print(f"[bold]1. schema[/bold] at {asyncio.run(schema.migrate(url))}")
    loaded = with_database(settings, _load)
    out.print(
        f"[bold]2. sample book[/bold]: {sum(r.rows for r in loaded):,} rows loaded, "
        f"{sum(r.inserted + r.changed for r in loaded):,} of them new or changed"
    )
    with Runner(url, settings) as runner:
        with progress_line("valuing to the horizon") as on_progress:
            first = runner.until_quiet(on_progress)
        _require_current(first)
        _print_run("3. valued to the horizon", first)
        before = with_database(settings, totals_by_currency)
        correction = with_database(settings, _correct)
        out.print(
            f"[bold]4. correction[/bold]: {correction.what}: {tidy(correction.old)} -> {tidy(correction.new)}; "
            f"it can reach {correction.positions:,} positions, {', '.join(map(str, correction.dates))}",
            markup=True,
        )
        with progress_line("reprocessing") as on_progress:
            second = runner.until_quiet(on_progress)
        _require_current(second)
        _print_run("5. reprocessed", second)
    after = with_database(settings, totals_by_currency)
    _print_money(before, after)
    verified = with_database(settings, _verify)
    out.print(
        f"[bold]6. oracle[/bold]: {verified.rows:,} rows recomputed one by one in plain decimals: "
        f"{verified.disagreements} disagreements"
    )
    picture = folder / "revalue-demo.png"
    draw_totals(
        after,
        picture,
        title="Market value and unrealized gain of the sample book, by base currency",
    )
    _print_summary(settings, second)
    out.print(f"picture: {picture.resolve()}\n{monotonic() - begun:.0f} s in all", markup=False)
    if verified.disagreements:
        raise RevalueError("stored rows disagree with the data:\n" + "\n".join(verified.examples))


async def _load(database: Database) -> list[LoadResult]:
    frames = sample.frames()
    return [
        await load(database, Kind(kind), frames[kind])
        for kind in track(
            frames, description="loading the sample book", console=err, transient=True
        )
    ]


async def _correct(database: Database) -> corrections.Correction:
    old = await read_price(database, SECURITY, DAY)
    return await corrections.price(
        database, SECURITY, DAY, (old * FACTOR).quantize(Decimal("0.001"))
    )


async def _verify(database: Database) -> Verified:
    return await verify_rows(database, rows=VERIFIED_ROWS, seed=1)


def _require_current(run: Run) -> None:
    if not run.status.is_current:
        raise ValuationIncompleteError(f"not every position is current: {run.status.positions}")


def _print_run(title: str, run: Run) -> None:
    out.print(
        f"[bold]{title}[/bold]: {run.rows_written:,} position-days in {run.seconds:.1f} s "
        f"({run.rows_per_second:,.0f}/s), {run.jobs_finished:,} jobs, {run.positions_invalidated:,} positions raised to a new epoch"
    )


def _print_money(before: pl.DataFrame, after: pl.DataFrame) -> None:
    changed = (
        before.join(after, on=["base_currency", "date"], suffix="_after")
        .with_columns(
            value=pl.col("market_value_after") - pl.col("market_value"),
            gain=pl.col("unrealized_gain_after") - pl.col("unrealized_gain"),
        )
        .filter((pl.col("value") != 0) | (pl.col("gain") != 0))
        .sort("base_currency", "date")
    )
    # Five columns, so that no amount is broken on a terminal of 80.
    print_table(
        "What the correction changed in money: market value",
        ("base", "date", "before", "after", "change"),
        [
            (row[0], row[1], *(f"{amount:,.2f}" for amount in row[2:]))
            for row in changed.select(
                "base_currency", "date", "market_value", "market_value_after", "value"
            ).rows()
        ],
    )
    if changed["value"].equals(changed["gain"]):
        out.print(
            "The unrealized gains change by the same amounts: the cost bases have not changed."
        )
    else:
        print_table(
            "Unrealized gain",
            ("base", "date", "change"),
            [
                (row[0], row[1], f"{row[2]:,.2f}")
                for row in changed.select("base_currency", "date", "gain").rows()
            ],
        )


def _print_summary(settings: Settings, run: Run) -> None:
    status = run.status
    out.print(
        f"[bold]summary[/bold]: {status.total:,} positions, {with_database(settings, count_position_days):,} position-days; "
        f"positions by state {status.positions}; "
        f"watermarks {status.first_watermark} to {status.last_watermark}, horizon {status.horizon}"
    )
