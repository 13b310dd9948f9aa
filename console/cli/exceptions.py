"""`revalue exceptions`: what of a date has no value, is old, or moved far; and to confirm it."""

from collections.abc import AsyncGenerator
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import Annotated, Any

import polars as pl
import typer

from revalue.console.cli.arguments import Day, Json, Security, parse_not_negative
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, out, print_json, tidy
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
from revalue.engine.correct.authors import local_author
from revalue.engine.correct.confirmations import confirmations
from revalue.engine.correct.confirmations.confirmations import Confirmable
from revalue.engine.correct.corrections.large_moves import MOVE_PERCENT
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.read.exceptions import EXCEPTION_COLUMNS, MOVERS, Limits
from revalue.engine.read.exceptions import exceptions as read_exceptions
from revalue.engine.read.moves import shown_move
from revalue.engine.read.report import Wanted

app = typer.Typer(
    invoke_without_command=True,
    help="List what of a date is not right yet, or wants a look; confirm prices and rates.",
)
_confirm_app = typer.Typer(
    no_args_is_help=True, help="Confirm a price or rate that moved far: it is not told again."
)
_unconfirm_app = typer.Typer(
    no_args_is_help=True, help="Withdraw a confirmation: the price or rate is told again."
)
app.add_typer(_confirm_app, name="confirm")
app.add_typer(_unconfirm_app, name="unconfirm")


def _detail(row: dict[str, Any]) -> str | None:
    """Return what the line says; of a value, the two columns behind say it."""
    if row["kind"] == "VALUE_MOVE":
        return None
    if row["confirmed_by"] is None:
        return str(row["detail"])
    why = f": {row['why']}" if row["why"] else ""
    return f"{row['detail']} (confirmed by {row['confirmed_by']}{why})"


_CELLS: Cells = {
    "what": itemgetter("kind"),
    "of": itemgetter("subject"),
    "": _detail,
    "moved": lambda row: None if row["move_percent"] is None else f"{row['move_percent']:+.1f} %",
    "positions": itemgetter("positions"),
    "market value": money("market_value"),
    "change": money("change"),
    "in": itemgetter("base_currency"),
}


@app.callback()
def exceptions(
    ctx: typer.Context,
    day: OfDate = None,
    portfolio: Portfolios = None,
    security: Securities = None,
    known_at: KnownAt = None,
    move_percent: Annotated[
        float,
        typer.Option(
            min=0,
            help="List prices and rates that moved by more than this percentage; an instrument "
            "with a move_limit_percent has its own.",
        ),
    ] = MOVE_PERCENT,
    movers: Annotated[
        int,
        typer.Option(min=0, help="List so many positions whose value moved most, per currency."),
    ] = MOVERS,
    confirmed: Annotated[
        bool, typer.Option("--confirmed", help="Also list what is confirmed, by whom and why.")
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """List what of a date is not right yet, or wants a look.

    Positions without a value and the reason, values from old prices or rates, prices and rates that
    moved far, and the positions whose value moved most; each with the market value that it
    concerns.
    """
    wanted = wanted_report(day, None, None, portfolio, security, known_at)
    limits = Limits(move_percent, movers, confirmed)
    if ctx.invoked_subcommand is not None:
        if (wanted, limits, output, as_json) != (Wanted(), Limits(), None, False):
            raise UsageError(
                f"options of the list do not go with `{ctx.invoked_subcommand}`: give those of "
                "the command behind its name"
            )
        return
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


_Value = Annotated[
    Decimal | None,
    typer.Option(
        "--value",
        parser=parse_not_negative,
        metavar="VALUE",
        help="The value, as the column `value` of the list has it. Default: the one that is shown.",
    ),
]
_ValueBefore = Annotated[
    Decimal | None,
    typer.Option(
        "--value-before",
        parser=parse_not_negative,
        metavar="VALUE",
        help="The value before it that you have seen, as the column `value_before` of the list has "
        "it: if it is another one now, nothing is confirmed. Default: all that are shown.",
    ),
]
_Why = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="Why it is right.")]
_Local = Annotated[
    str, typer.Argument(metavar="LOCAL", help="Currency of securities, such as USD.")
]
_Base = Annotated[
    str, typer.Argument(metavar="BASE", help="Base currency of portfolios, such as EUR.")
]


@_confirm_app.command("price")
def confirm_price(
    ctx: typer.Context,
    security: Security,
    day: Day,
    value: _Value = None,
    value_before: _ValueBefore = None,
    why: _Why = None,
    as_json: Json = False,
) -> None:
    """Confirm the price of SECURITY that is shown on DATE.

    It is listed no more, until another price is shown on that date, or before it.
    """
    _confirm(ctx, Confirmable.PRICE, security, day, value, value_before, why, as_json)


@_confirm_app.command("rate")
def confirm_rate(
    ctx: typer.Context,
    local: _Local,
    base: _Base,
    day: Day,
    value: _Value = None,
    value_before: _ValueBefore = None,
    why: _Why = None,
    as_json: Json = False,
) -> None:
    """Confirm the rate of DATE from LOCAL to BASE, which the list names LOCAL/BASE.

    It is listed no more, until another rate is shown on that date, or before it.
    """
    _confirm(ctx, Confirmable.RATE, f"{local}/{base}", day, value, value_before, why, as_json)


@_unconfirm_app.command("price")
def unconfirm_price(
    ctx: typer.Context, security: Security, day: Day, as_json: Json = False
) -> None:
    """Withdraw the confirmation of the price of SECURITY on DATE."""
    _unconfirm(ctx, Confirmable.PRICE, security, day, as_json)


@_unconfirm_app.command("rate")
def unconfirm_rate(
    ctx: typer.Context, local: _Local, base: _Base, day: Day, as_json: Json = False
) -> None:
    """Withdraw the confirmation of the rate of DATE from LOCAL to BASE."""
    _unconfirm(ctx, Confirmable.RATE, f"{local}/{base}", day, as_json)


def _confirm(
    ctx: typer.Context,
    kind: Confirmable,
    subject: str,
    day: date,
    value: Decimal | None,
    value_before: Decimal | None,
    why: str | None,
    as_json: bool,
) -> None:
    async def run(database: Database) -> tuple[Decimal, bool]:
        shown = await shown_move(database, kind, subject, day)
        chosen = shown.value if value is None else value
        against = shown.against(chosen, value_before)
        return chosen, await confirmations.confirm(
            database, kind, subject, day, chosen, against, local_author(why)
        )

    chosen, is_new = CliContext.of(ctx).run(run)
    _tell(kind, subject, day, chosen, "confirmed" if is_new else "confirmed already", as_json)


def _unconfirm(
    ctx: typer.Context, kind: Confirmable, subject: str, day: date, as_json: bool
) -> None:
    chosen = CliContext.of(ctx).run(
        lambda database: confirmations.unconfirm(database, kind, subject, day, local_author())
    )
    _tell(kind, subject, day, chosen, "is told again", as_json)


def _tell(
    kind: Confirmable, subject: str, day: date, value: Decimal, outcome: str, as_json: bool
) -> None:
    if as_json:
        told = {"kind": kind.value, "subject": subject, "date": day, "value": value}
        print_json({**told, "outcome": outcome})
        return
    out.print(f"{kind.value.lower()} of {subject} on {day}, {tidy(f'{value:f}')}: {outcome}")
