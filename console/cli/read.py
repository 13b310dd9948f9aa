"""`revalue read`: the numbers: positions of a date or of many, their totals and changes."""

from collections.abc import AsyncGenerator
from operator import itemgetter
from typing import Annotated, Any, Literal

import polars as pl
import typer

from revalue.console.cli.arguments import Day, Json, Portfolio, Security
from revalue.console.cli.output import counted, format_time
from revalue.console.cli.progress import read_line
from revalue.console.cli.report_options import (
    First,
    KnownAt,
    Last,
    OfDate,
    Output,
    Portfolios,
    Securities,
    not_later,
    wanted_report,
)
from revalue.console.cli.report_output import Cells, Target, money, number, run_report
from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from revalue.engine.read.changes import CHANGE_COLUMNS
from revalue.engine.read.changes import changes as read_changes
from revalue.engine.read.report import By, Wanted

app = typer.Typer(no_args_is_help=True, help="Read positions, totals and changes; write files.")


def _status(row: dict[str, Any]) -> str:
    """Return why there is no value, or how current it is, in a word: a table is narrow."""
    status = row["valuation_status"].removeprefix("VALUED_")
    said = row["failure_reason"] or status.replace("_", " ").lower()
    return said if row["reprocessing_status"] == "CURRENT" else f"{said}, reprocessing"


_POSITION_CELLS: Cells = {
    "portfolio": itemgetter("portfolio_id"),
    "security": itemgetter("security_id"),
    "date": itemgetter("date"),
    "quantity": number("quantity"),
    "price": number("price"),
    "market value": money("market_value"),
    "gain": money("unrealized_gain"),
    "": itemgetter("base_currency"),
    "status": _status,
}
_POSITIONS_WITHOUT = ("date", "price", "quantity", "gain")
_TOTAL_CELLS: Cells = {
    "total of": lambda row: row.get("portfolio_id", row["base_currency"]),
    "date": itemgetter("date"),
    "market value": money("market_value"),
    "gain": money("unrealized_gain"),
    "by prices": money("price_effect"),
    "by rates": money("fx_effect"),
    "": itemgetter("base_currency"),
    "lines": itemgetter("lines"),
    "valued": itemgetter("lines_valued"),
}
_TOTALS_WITHOUT = ("date", "by rates", "by prices", "gain")


@app.command("positions")
def positions(
    ctx: typer.Context,
    day: OfDate = None,
    first: First = None,
    last: Last = None,
    portfolio: Portfolios = None,
    security: Securities = None,
    known_at: KnownAt = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Read the open positions of a date, or of every date of a range.

    A position without a value is listed too, with the reason. On a terminal this is a table of the
    first rows, in a pipe CSV with all rows and columns.
    """
    wanted = wanted_report(day, first, last, portfolio, security, known_at)
    target = Target(output, as_json, report.REPORT_COLUMNS, _POSITION_CELLS, _POSITIONS_WITHOUT)
    lines = Lines(wanted)
    run_report(
        ctx,
        target,
        lambda database: target.put(_counting(database, wanted, lines), lambda: lines),
    )


@app.command("totals")
def totals(
    ctx: typer.Context,
    day: OfDate = None,
    first: First = None,
    last: Last = None,
    portfolio: Portfolios = None,
    security: Securities = None,
    known_at: KnownAt = None,
    by: Annotated[
        Literal["portfolio", "currency"],
        typer.Option(help="One total per portfolio, or per base currency of all portfolios."),
    ] = "portfolio",
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Read market values and gains, summed per portfolio or base currency and date.

    Each total says of how many lines (open positions) it is: a line without a value is counted, and
    is in no sum.
    """
    wanted = wanted_report(day, first, last, portfolio, security, known_at)
    target = Target(output, as_json, report.total_columns(by), _TOTAL_CELLS, _TOTALS_WITHOUT)
    lines = Lines(wanted)
    run_report(
        ctx,
        target,
        lambda database: target.put(_summed(_counting(database, wanted, lines), by), lambda: lines),
    )


@app.command("changes")
def changes(
    ctx: typer.Context,
    portfolio: Portfolio,
    security: Security,
    day: Day,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Read every number that readers have seen of a position on a date, the oldest first.

    With the correction that caused it, who has made that, and why.
    """
    target = Target(output, as_json, CHANGE_COLUMNS, _CHANGE_CELLS, _CHANGES_WITHOUT)
    found: list[pl.DataFrame] = []

    async def read(database: Database) -> AsyncGenerator[pl.DataFrame, None]:
        found.append(await read_changes(database, portfolio, security, day))
        yield found[0]

    run_report(
        ctx,
        target,
        lambda database: target.put(
            read(database),
            lambda: f"{portfolio} / {security} on {day}: {counted(len(found[0]), 'number')} shown",
        ),
    )


_CHANGE_CELLS: Cells = {
    "shown from": lambda row: row["published_at"] and format_time(row["published_at"]),
    "until": lambda row: row["superseded_at"] and format_time(row["superseded_at"]),
    "market value": money("market_value"),
    "quantity": number("quantity"),
    "price": number("price"),
    "cause": itemgetter("cause"),
    "changed": itemgetter("changed"),
    "by": itemgetter("corrected_by"),
    "why": itemgetter("why"),
}
_CHANGES_WITHOUT = ("quantity", "price", "cause", "until", "by")


class Lines:
    """How many position-days were read, and how many of them have no value, or an old one."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._totals: list[pl.DataFrame] = []

    def count(self, rows: pl.DataFrame) -> None:
        self._totals.append(report.totals_of(rows, "currency"))

    def __str__(self) -> str:
        totals = pl.concat(self._totals)
        if totals.is_empty():
            return "no position is open on these dates"
        counts = totals.select(pl.col("^lines.*$").cast(pl.Int64).sum()).row(0, named=True)
        first, last = totals.select(first=pl.col("date").min(), last=pl.col("date").max()).row(0)
        words = [
            (counts["lines_stale"], "at an older price or rate"),
            (counts["lines_waiting"], "without a value: data are missing or wrong"),
            (counts["lines_missing"], "not valued yet"),
            (counts["lines_reprocessing"], "being reprocessed"),
        ]
        on = f"on {first}" if first == last else f"from {first} to {last}"
        on += not_later(self._wanted, last)
        said = "".join(f"; {number:,} {what}" for number, what in words if number)
        return f"{counted(counts['lines'], 'position-day')} {on}{said}"


async def _counting(
    database: Database, wanted: Wanted, lines: Lines
) -> AsyncGenerator[pl.DataFrame, None]:
    rows = frames = of_all = 0

    def begin(number: int) -> None:
        nonlocal of_all
        of_all = number

    with read_line() as say:
        async for frame in report.positions(database, wanted, on_frames=begin):
            lines.count(frame)
            rows += len(frame)
            frames += 1
            say(rows, frame.select(pl.col("date").max()).item(), frames / of_all)
            yield frame


async def _summed(
    frames: AsyncGenerator[pl.DataFrame, None], by: By
) -> AsyncGenerator[pl.DataFrame, None]:
    async for frame in frames:
        yield report.totals_of(frame, by)
