"""`revalue correct split`: give every holder of a security other quantities from a date on."""

from typing import Annotated

import typer

from revalue.console.cli.arguments import Day, Json, Security
from revalue.console.cli.checks import require_confirmation, require_somebody
from revalue.console.cli.context import CliContext
from revalue.console.cli.correction_run import DryRun, ShowAll, Why, run_correction
from revalue.console.cli.output import err
from revalue.console.cli.split_output import print_split
from revalue.engine.correct.splits.splits import SplitCorrection, split
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.postgres.open_transaction import rolled_back


def correct_split(
    ctx: typer.Context,
    security: Security,
    day: Day,
    ratio: Annotated[
        str,
        typer.Argument(
            metavar="RATIO", help="New for old, as 4:1; of a reverse split for example 1:10."
        ),
    ],
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Make it though a split of SECURITY was made already, for a date within 30 days.",
        ),
    ] = False,
    all_records: Annotated[
        bool,
        typer.Option(
            "--all-records",
            help="Make it though records seem to have the new quantities already: they are those "
            "before them times RATIO.",
        ),
    ] = False,
    why: Why = None,
    dry_run: DryRun = False,
    show_all: ShowAll = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Multiply the quantities of SECURITY from DATE on, of every holder; their cost stays.

    All position records from DATE on are corrected, and a record on DATE is added where one began
    before. Prices are not touched. It is recorded as a load: `revalue loads revert` takes it back.
    """

    async def correct(database: Connections) -> SplitCorrection:
        return await split(database, security, day, ratio, again=again, all_records=all_records)

    async def look(database: Database) -> SplitCorrection:
        async with rolled_back(database) as inside:
            return await correct(inside)

    if not yes and not dry_run:
        what = f"the quantities of {security} would be multiplied by {ratio} from {day} on"
        found = CliContext.of(ctx).run(look)  # first: what cannot be made is no question
        require_somebody(f"{what} (--dry-run shows it)")
        print_split(found, err)
        require_confirmation(what, confirmed=False)
    run_correction(ctx, correct, dry_run, as_json, why, show_all=show_all)
