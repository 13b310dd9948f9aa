"""`revalue exceptions`: what of a date has no value, is old, or moved far."""

from collections.abc import AsyncGenerator
from operator import itemgetter
from typing import Annotated

import polars as pl
import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.output import counted
from revalue.console.cli.report_options import (
    KnownAt,
    OfDate,
    Output,
    Portfolios,
    Securities,
    not_later,
    wanted_report,
)
from revalue.console.cli.report_output import Cells, Target, money, run_report
from revalue.engine.postgres.database import Database
from revalue.engine.read.exceptions import (
    EXCEPTION_COLUMNS,
    MOVE_PERCENT,
    MOVERS,
    Limits,
)
from revalue.engine.read.exceptions import exceptions as read_exceptions
from revalue.engine.read.report import Wanted

_CELLS: Cells = {
    "what": itemgetter("kind"),
    "of": itemgetter("subject"),
    # Of a value, the two columns behind say it.
    "": lambda row: None if row["kind"] == "VALUE_MOVE" else row["detail"],
    "moved": lambda row: None if row["move_percent"] is None else f"{row['move_percent']:+.1f} %",
    "positions": itemgetter("positions"),
    "market value": money("market_value"),
    "change": money("change"),
    "in": itemgetter("base_currency"),
}


def exceptions(
    ctx: typer.Context,
    day: OfDate = None,
    portfolio: Portfolios = None,
    security: Securities = None,
    known_at: KnownAt = None,
    move_percent: Annotated[
        float,
        typer.Option(min=0, help="List prices and rates that moved by more than this percentage."),
    ] = MOVE_PERCENT,
    movers: Annotated[
        int,
        typer.Option(min=0, help="List so many positions whose value moved most, per currency."),
    ] = MOVERS,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """List what of a date is not right yet, or wants a look.

    Positions without a value and the reason, values from old prices or rates, prices and rates that
    moved far since the business date before, and the positions whose value moved most; each with
    the market value that it concerns.
    """
    wanted = wanted_report(day, None, None, portfolio, security, known_at)
    limits = Limits(move_percent, movers)
    target = Target(output, as_json, EXCEPTION_COLUMNS, _CELLS, ("positions", "change", "moved"))
    found: list[pl.DataFrame] = []

    async def read(database: Database) -> AsyncGenerator[pl.DataFrame, None]:
        found.append(await read_exceptions(database, wanted, limits))
        yield found[0]

    run_report(
        ctx,
        target,
        lambda database: target.put(read(database), lambda: _summary(found[0], wanted)),
    )


def _summary(found: pl.DataFrame, wanted: Wanted) -> str:
    counts = found.group_by("kind", maintain_order=True).len()
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.rows())
    days = found["date"].unique().sort().to_list()
    on = f" on {', '.join(map(str, days))}{not_later(wanted, days[-1])}" if days else ""
    return f"{counted(len(found), 'exception')}{on}{f': {kinds}' if kinds else ''}"
