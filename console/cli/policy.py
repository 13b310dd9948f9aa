"""`revalue policy`: the settings that hold for all numbers."""

from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.correction_run import DryRun, ShowAll, Why, run_correction
from revalue.console.cli.groups import read_unless_called
from revalue.console.cli.output import out
from revalue.engine.correct.policy.policy import PolicyCorrection, change_policy, read_policy
from revalue.engine.postgres.database import Connections

app = typer.Typer(invoke_without_command=True)


@app.callback()
def policy(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the valuation policy: the pivot currency, and how old an FX rate may be.

    `revalue policy set` changes it.
    """
    found = read_unless_called(ctx, read_policy, as_json=as_json)
    if found is None:
        return
    out.print(f"pivot of cross rates: {found.pivot}")
    out.print(f"age limit of rates: {found.fx_max_age:,} business days")


@app.command("set")
def change(
    ctx: typer.Context,
    pivot: Annotated[
        str | None,
        typer.Option(
            metavar="CURRENCY",
            help="The currency through which a rate is computed when a pair has none of its own.",
        ),
    ] = None,
    fx_max_age: Annotated[
        int | None,
        typer.Option(metavar="DAYS", help="How many business days old a rate may be."),
    ] = None,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    as_json: Json = False,
) -> None:
    """Change the valuation policy; what is not given stays. For the owner of the tables.

    It holds for all dates, so it is a correction of every position: `revalue value` restates them.
    """

    async def correct(database: Connections) -> PolicyCorrection:
        return await change_policy(database, pivot=pivot, fx_max_age=fx_max_age)

    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)
