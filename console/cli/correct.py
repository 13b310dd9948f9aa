"""`revalue correct`: one price, rate or position, or a file of them; really, or as a dry run."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from revalue.console.cli.connection import with_database
from revalue.console.cli.context import Call, Json
from revalue.console.cli.correcting import Made, print_correction, print_preview
from revalue.console.cli.output import print_json
from revalue.engine.correct import corrections
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import Preview, preview

correct_app = typer.Typer(
    no_args_is_help=True,
    help="Correct one price, rate or position; what it touches is revalued by `value`.",
)


def _date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date: write YYYY-MM-DD") from None


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no decimal number") from None
    if not number.is_finite():
        raise typer.BadParameter(f"{text!r} is not finite")
    return number


Day = Annotated[date, typer.Argument(parser=_date, metavar="YYYY-MM-DD")]
Number = Annotated[Decimal, typer.Argument(parser=_decimal, metavar="NUMBER")]


DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would be revalued and what it would change; write nothing."
    ),
]


@correct_app.command("price")
def correct_price(
    security: str, day: Day, price: Number, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Replace the price that SECURITY has for a date (its currency and quote basis stay)."""
    _correct(lambda database: corrections.price(database, security, day, price), dry_run, as_json)


@correct_app.command("fx")
def correct_fx(
    base: str, quote: str, day: Day, rate: Number, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Replace the stored rate of a date: 1 BASE = RATE QUOTE."""
    _correct(lambda database: corrections.rate(database, base, quote, day, rate), dry_run, as_json)


@correct_app.command("position", context_settings={"ignore_unknown_options": True})
def correct_position(
    portfolio: str,
    security: str,
    day: Day,
    quantity: Number,
    cost_basis_local: Number,
    cost_basis: Number,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put in the absolute fact of one date (later facts stay)."""
    given = (portfolio, security, day, quantity, cost_basis_local, cost_basis)
    _correct(lambda database: corrections.position(database, *given), dry_run, as_json)


@correct_app.command("file")
def correct_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="Parquet or CSV, with the columns of a file of prices, fx_rates or positions."
        ),
    ],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Replace every price, rate or fact of a file, or none of them: what it names has to be stored already."""
    _correct(lambda database: corrections.file(database, file), dry_run, as_json)


def _correct(
    correct: Callable[[Connections], Awaitable[Made]], dry_run: bool, as_json: bool
) -> None:
    async def run(database: Database) -> Made | Preview:
        if dry_run:
            return await preview(database, correct, Call.settings)
        made = await correct(database)
        corrections.log_correction(made)
        return made

    made = with_database(Call.settings, run)
    if isinstance(made, Preview):
        if as_json:
            print_json({**made.as_dict(), "correction": asdict(made.correction)})
        else:
            print_preview(made)
    elif as_json:
        print_json(made)
    else:
        print_correction(made)
