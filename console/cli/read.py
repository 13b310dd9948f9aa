"""`revalue read`: the numbers: positions of a date or of many, their totals and changes."""

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date, datetime
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import polars as pl
import typer

from revalue.console.cli.arguments import Day, Json, Portfolio, Security, parse_date
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import (
    counted,
    end_for_broken_pipe,
    err,
    format_time,
    out,
    print_json,
    print_table,
    tidy,
)
from revalue.console.cli.progress import read_line
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from revalue.engine.read.explain import formatted
from revalue.engine.read.files import FORMATS, Columns, csv_writer, require_format, write_file
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.read.report import By, Wanted

app = typer.Typer(no_args_is_help=True, help="Read positions, totals and changes; write files.")

_SHOWN_ROWS = 50


def _parse_time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a time: write 2024-03-06T18:00:00+01:00"
        ) from None
    if time.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone: write {text}+00:00, or {text}Z")
    return time


_Date = Annotated[
    date | None,
    typer.Option(
        "--date",
        parser=parse_date,
        metavar="DATE",
        help="Of each portfolio the last opened business date at or before this date. Default: "
        "the last one that is opened.",
    ),
]
_First = Annotated[
    date | None,
    typer.Option("--from", parser=parse_date, metavar="DATE", help="Every date from this one on."),
]
_Last = Annotated[
    date | None,
    typer.Option("--to", parser=parse_date, metavar="DATE", help="Every date up to this one."),
]
_Portfolios = Annotated[
    list[str] | None,
    typer.Option("--portfolio", metavar="ID", help="Only this portfolio; may be repeated."),
]
_Securities = Annotated[
    list[str] | None,
    typer.Option("--security", metavar="ID", help="Only this security; may be repeated."),
]
_KnownAt = Annotated[
    datetime | None,
    typer.Option(
        "--known-at",
        parser=_parse_time,
        metavar="TIME",
        help="What readers saw at this time, with its zone: 2024-03-06T18:00:00+01:00.",
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help=f"Write a file; its ending says the format: {', '.join(FORMATS)}.",
    ),
]


@app.command("positions")
def positions(
    ctx: typer.Context,
    day: _Date = None,
    first: _First = None,
    last: _Last = None,
    portfolio: _Portfolios = None,
    security: _Securities = None,
    known_at: _KnownAt = None,
    output: _Output = None,
    as_json: Json = False,
) -> None:
    """Read the open positions of a date, or of every date of a range.

    A position without a value is listed too, with the reason. On a terminal this is a table of the
    first rows, in a pipe CSV with all rows and columns.
    """
    wanted = _wanted(day, first, last, portfolio, security, known_at)
    target = _Target(output, as_json, report.REPORT_COLUMNS, _POSITION_CELLS)
    CliContext.of(ctx).run(
        lambda database: _print_or_write(
            target, lambda lines: _counting(report.positions(database, wanted), lines)
        )
    )


@app.command("totals")
def totals(
    ctx: typer.Context,
    day: _Date = None,
    first: _First = None,
    last: _Last = None,
    portfolio: _Portfolios = None,
    security: _Securities = None,
    known_at: _KnownAt = None,
    by: Annotated[
        Literal["portfolio", "currency"],
        typer.Option(help="One total per portfolio, or per base currency of all portfolios."),
    ] = "portfolio",
    output: _Output = None,
    as_json: Json = False,
) -> None:
    """Read market values and gains, summed per portfolio or base currency and date.

    Each total says of how many lines (open positions) it is: a line without a value is counted, and
    is in no sum.
    """
    wanted = _wanted(day, first, last, portfolio, security, known_at)
    target = _Target(output, as_json, report.total_columns(by), _TOTAL_CELLS)
    CliContext.of(ctx).run(
        lambda database: _print_or_write(
            target,
            lambda lines: _summed(_counting(report.positions(database, wanted), lines), by),
        )
    )


@app.command("changes")
def changes(
    ctx: typer.Context, portfolio: Portfolio, security: Security, day: Day, as_json: Json = False
) -> None:
    """Read every number that readers have seen of a position on a date, the oldest first."""

    async def read(database: Database) -> list[dict[str, Any]]:
        return (await ReaderQueries(database).changes(portfolio, security, day))[1]

    rows = CliContext.of(ctx).run(read)
    if as_json:
        print_json(rows)
        return
    print_table(
        f"{portfolio} / {security} / {day}",
        ("shown from", "until", "market_value", "quantity", "price", "fx_rate", "cause", "changed"),
        (
            (
                format_time(row["published_at"]) if row["published_at"] else None,
                format_time(row["superseded_at"]) if row["superseded_at"] else None,
                *(tidy(str(row[name])) for name in ("market_value", "quantity", "price")),
                None if row["fx_rate"] is None else tidy(str(row["fx_rate"])),
                row["cause"],
                ", ".join(
                    f"{name} {tidy(str(was))} -> {tidy(str(is_now))}"
                    for name, (was, is_now) in row["changed"].items()
                )
                or None,
            )
            for row in rows
        ),
    )


def _wanted(
    day: date | None,
    first: date | None,
    last: date | None,
    portfolios: list[str] | None,
    securities: list[str] | None,
    known_at: datetime | None,
) -> Wanted:
    if day is not None and (first is not None or last is not None):
        raise UsageError("give --date, or --from and --to: not both")
    if first is None and last is not None:
        raise UsageError("--to needs --from: a range has a first date")
    return Wanted(
        last_date=day or last or date.max,
        first_date=first,
        portfolios=tuple(portfolios) if portfolios else None,
        securities=tuple(securities) if securities else None,
        known_at=known_at,
    )


@dataclass(frozen=True)
class _Target:
    """Where rows go: a file; or standard output, as a table, CSV or JSON.

    cells: the columns of the table, and how each is made of a row.
    """

    output: Path | None
    as_json: bool
    columns: Columns
    cells: "_Cells"

    def __post_init__(self) -> None:
        if self.output is not None:
            if self.as_json:
                raise UsageError("give --output or --json: not both")
            require_format(self.output)


class _Lines:
    """How many position-days were read, and how many of them have no value, or an old one."""

    def __init__(self) -> None:
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
        said = "".join(f"; {number:,} {what}" for number, what in words if number)
        return f"{counted(counts['lines'], 'position-day')} {on}{said}"


async def _counting(
    frames: AsyncIterator[pl.DataFrame], lines: _Lines
) -> AsyncIterator[pl.DataFrame]:
    rows = 0
    with read_line() as say:
        async for frame in frames:
            lines.count(frame)
            rows += len(frame)
            say(rows, frame.select(pl.col("date").max()).item())
            yield frame


async def _summed(frames: AsyncIterator[pl.DataFrame], by: By) -> AsyncIterator[pl.DataFrame]:
    async for frame in frames:
        yield report.totals_of(frame, by)


async def _print_or_write(
    target: _Target, read: Callable[[_Lines], AsyncIterator[pl.DataFrame]]
) -> None:
    lines = _Lines()
    frames = read(lines)
    if target.output is not None:
        rows = await write_file(target.output, target.columns, frames)
        err.print(f"{target.output}: {counted(rows, 'row')}; {lines}")
    elif target.as_json:
        print_json([row async for frame in frames for row in frame.iter_rows(named=True)])
        err.print(str(lines))
    elif sys.stdout.isatty():
        await _print_first(target, frames)
        err.print(str(lines))
    else:
        try:
            with csv_writer(sys.stdout.buffer, target.columns) as write:
                async for frame in frames:
                    write(frame)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            end_for_broken_pipe()
        err.print(str(lines))


async def _print_first(target: _Target, frames: AsyncIterator[pl.DataFrame]) -> None:
    shown: list[dict[str, Any]] = []
    rows = 0
    async for frame in frames:
        rows += len(frame)
        shown += frame.head(_SHOWN_ROWS - len(shown)).rows(named=True)
    print_table(
        "",
        list(target.cells),
        [[make(row) for make in target.cells.values()] for row in shown],
    )
    if rows > len(shown):
        out.print(f"{rows - len(shown):,} more rows: all are in a pipe, or in a file by --output")


def _number(name: str) -> Callable[[dict[str, Any]], str | None]:
    return lambda row: None if row[name] is None else formatted(row[name])


def _money(name: str) -> Callable[[dict[str, Any]], str | None]:
    """Two decimals, for people: files and pipes have all of them."""
    return lambda row: None if row[name] is None else f"{row[name]:,.2f}"


def _status(row: dict[str, Any]) -> str:
    """Return why there is no value, or how current it is."""
    said = row["failure_reason"] or row["valuation_status"]
    return said if row["reprocessing_status"] == "CURRENT" else f"{said}, {_IN_PROGRESS}"


_IN_PROGRESS = "IN_PROGRESS"

_Cells: TypeAlias = dict[str, Callable[[dict[str, Any]], Any]]

_POSITION_CELLS: _Cells = {
    "portfolio": itemgetter("portfolio_id"),
    "security": itemgetter("security_id"),
    "date": itemgetter("date"),
    "quantity": _number("quantity"),
    "price": _number("price"),
    "market value": _money("market_value"),
    "gain": _money("unrealized_gain"),
    "": itemgetter("base_currency"),
    "status": _status,
}
_TOTAL_CELLS: _Cells = {
    "total of": lambda row: row.get("portfolio_id", row["base_currency"]),
    "date": itemgetter("date"),
    "market value": _money("market_value"),
    "gain": _money("unrealized_gain"),
    "by prices": _money("price_effect"),
    "by rates": _money("fx_effect"),
    "": itemgetter("base_currency"),
    "lines": itemgetter("lines"),
    "valued": itemgetter("lines_valued"),
}
