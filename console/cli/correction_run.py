"""Make a correction or preview it, and print what it has done or would do."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeAlias

import typer

from revalue.console.cli.context import CliContext
from revalue.console.cli.correction_output import Corrected, print_correction
from revalue.console.cli.output import print_json
from revalue.console.cli.preview_output import print_preview
from revalue.console.cli.progress import preview_line
from revalue.engine.correct.authors import Signed, local_author
from revalue.engine.correct.corrections.log import log_correction
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import Preview, preview

_MOVERS, _ALL_MOVERS = 10, 2**31  # per base currency

Correct: TypeAlias = Callable[[Connections], Awaitable[Corrected]]

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would be restated and how values would change; write nothing."
    ),
]

ShowAll = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Of --dry-run: show each portfolio and every position that would change, and not only "
        "the ten largest changes.",
    ),
]

Why = Annotated[
    str | None,
    typer.Option("--why", metavar="TEXT", help="Why: shown with every number that it changes."),
]


def run_correction(
    ctx: typer.Context,
    correct: Correct,
    dry_run: bool,
    as_json: bool,
    why: str | None = None,
    *,
    show_all: bool = False,
) -> None:
    """Make a correction, or preview it; print what it has done or would do."""
    movers = movers_of(dry_run=dry_run, show_all=show_all)
    context = CliContext.of(ctx)
    author = local_author(why)

    async def run(database: Database) -> Corrected | Preview:
        if dry_run:
            with preview_line(show=not as_json) as on_progress:
                return await preview(
                    database, correct, context.settings, movers=movers, on_progress=on_progress
                )
        made = await correct(Signed(database, author))
        log_correction(made)
        return made

    made = context.run(run)
    if isinstance(made, Preview):
        if as_json:
            correction = asdict(made.correction)
            if "load_id" in correction:
                correction["load_id"] = None  # what is rolled back is no load
            print_json({**made.as_dict(), "correction": correction})
        else:
            print_preview(made, show_all=show_all)
    elif as_json:
        print_json(made)
    else:
        print_correction(made)


def movers_of(*, dry_run: bool, show_all: bool) -> int:
    """Return how many changed positions per base currency a preview is asked for.

    Raises:
        UsageError: all are asked for, and no preview.
    """
    if show_all and not dry_run:
        raise UsageError("--all is about what --dry-run shows: give both, or neither")
    return _ALL_MOVERS if show_all else _MOVERS
