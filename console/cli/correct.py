"""`revalue correct`: correct a price, an FX rate, a position record, or a file of them."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from revalue.console.cli.arguments import (
    Day,
    Json,
    Portfolio,
    Security,
    parse_decimal,
    parse_not_negative,
)
from revalue.console.cli.correct_split import correct_split
from revalue.console.cli.correction_run import DryRun, ShowAll, Why, run_correction
from revalue.console.cli.input_files import Format, opened
from revalue.engine.correct.corrections import corrections, files
from revalue.engine.correct.corrections.corrections import Correction
from revalue.engine.correct.corrections.files import FileCorrection
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Connections

app = typer.Typer(
    no_args_is_help=True,
    help="Correct a price, an FX rate or a position record. `revalue value` then restates what the "
    "correction affects.",
)

Delete = Annotated[bool, typer.Option("--delete", help="Delete it, in place of a new value.")]


# An argument such as -4 is a number, not an option.
_NUMBERS = {"ignore_unknown_options": True}


@app.command("price", context_settings=_NUMBERS)
def correct_price(
    ctx: typer.Context,
    security: Security,
    day: Day,
    price: Annotated[
        Decimal | None,
        typer.Argument(
            parser=parse_not_negative, metavar="PRICE", help="The new price, as quoted."
        ),
    ] = None,
    delete: Delete = False,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Replace the stored price of SECURITY on DATE; its currency and quote basis stay.

    With --delete it is deleted: the dates that used it use the price before it, or have none.
    """
    _require_one(price, "PRICE", delete)

    async def correct(database: Connections) -> Correction:
        if price is None:
            return await corrections.delete_price(database, security, day)
        return await corrections.price(database, security, day, price)

    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


# `fx` is what it was called: scripts may have it.
@app.command("rate", context_settings=_NUMBERS)
@app.command("fx", context_settings=_NUMBERS, hidden=True)
def correct_rate(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", help="Currency code, such as EUR.")],
    quote: Annotated[str, typer.Argument(metavar="QUOTE", help="Currency code, such as USD.")],
    day: Day,
    rate: Annotated[
        Decimal | None,
        typer.Argument(
            parser=parse_not_negative, metavar="RATE", help="How many QUOTE one BASE costs."
        ),
    ] = None,
    delete: Delete = False,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Replace the stored FX rate of DATE: 1 BASE = RATE QUOTE.

    With --delete it is deleted: the dates that used it use the rate before it, or have none.
    """
    _require_one(rate, "RATE", delete)

    async def correct(database: Connections) -> Correction:
        if rate is None:
            return await corrections.delete_rate(database, base, quote, day)
        return await corrections.rate(database, base, quote, day, rate)

    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


@app.command("position", context_settings=_NUMBERS)
def correct_position(
    ctx: typer.Context,
    portfolio: Portfolio,
    security: Security,
    day: Day,
    quantity: Annotated[
        Decimal,
        typer.Argument(
            parser=parse_decimal,
            metavar="QUANTITY",
            help="Quantity held; negative: short; 0: closed.",
        ),
    ],
    cost_basis_local: Annotated[
        Decimal,
        typer.Argument(
            parser=parse_decimal,
            metavar="COST_LOCAL",
            help="Cost basis in the currency of the security.",
        ),
    ],
    cost_basis: Annotated[
        Decimal,
        typer.Argument(
            parser=parse_decimal,
            metavar="COST",
            help="Cost basis in the base currency of the portfolio.",
        ),
    ],
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Set the position record of DATE: what is held from that day on. Later records stay."""

    async def correct(database: Connections) -> Correction:
        return await corrections.position(
            database, portfolio, security, day, quantity, cost_basis_local, cost_basis
        )

    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


@app.command("file")
def correct_file(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Parquet or CSV, with the columns of a file of prices, fx_rates or positions; - "
            "reads standard input.",
        ),
    ],
    file_format: Format = None,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Replace every price, FX rate or position record of FILE, or none of them.

    Prices and rates must be stored already.
    """

    with opened(file, file_format) as source:

        async def correct(database: Connections) -> FileCorrection:
            return await files.correct_file(database, source)

        run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)


app.command("split")(correct_split)


def _require_one(new: Decimal | None, name: str, delete: bool) -> None:
    if (new is None) is not delete:
        raise UsageError(f"give either {name} or --delete")
