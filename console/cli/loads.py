"""`revalue loads`: who has loaded which file when; `revalue loads revert`: take one back."""

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json, kinds_that_begin, parse_kind
from revalue.console.cli.checks import require_confirmation, require_somebody
from revalue.console.cli.context import CliContext
from revalue.console.cli.correction_output import describe_revert, print_correction
from revalue.console.cli.correction_run import ShowAll, movers_of
from revalue.console.cli.groups import read_unless_called
from revalue.console.cli.output import err, format_time, out, print_fitting_table, print_json
from revalue.console.cli.preview_output import print_preview
from revalue.console.cli.progress import load_line, preview_line
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads import recorded
from revalue.engine.correct.reverts.reverts import Revert, log_revert, look, revert
from revalue.engine.postgres.database import Database
from revalue.engine.preview.preview import Preview, preview

_SHOWN_TRIGGERS = 3
_COLUMNS = (
    *("load", "at", "database user", "by", "kind", "file"),
    *("rows", "new", "changed", "unchanged", "removed", "closed", "triggers"),
)
_DISPENSABLE = ("closed", "removed", "database user", "unchanged", "rows", "triggers", "by", "new")


app = typer.Typer(invoke_without_command=True)


@app.callback()
def loads(
    ctx: typer.Context,
    kind: Annotated[
        Kind | None,
        typer.Option(
            metavar="KIND",
            parser=parse_kind,
            autocompletion=kinds_that_begin,
            help="Only loads of this kind.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many loads to list.")] = 20,
    as_json: Json = False,
) -> None:
    """List the newest loads: when, by whom, which file, and what became of its rows.

    The triggers are those that record what a load has corrected. `revalue prune` deletes the
    records of loads that are older than what it keeps. `revalue loads revert` takes a load back.
    """
    read = partial(recorded.list_loads, kind=kind, most=limit)
    found = read_unless_called(ctx, read, as_json=as_json)
    if found is None:
        return
    if not found:
        out.print("no load is recorded")
        return
    left_out = print_fitting_table(
        _COLUMNS, [_cells(each) for each in found], dispensable=_DISPENSABLE
    )
    if left_out:
        out.print(
            f"left out, because the terminal is narrow: {', '.join(left_out)}. All columns are in "
            "a pipe, or by --json"
        )


@app.command("revert")
def take_back(
    ctx: typer.Context,
    load: Annotated[
        int, typer.Argument(metavar="LOAD", min=1, help="Number of the load, see `revalue loads`.")
    ],
    keep_later: Annotated[
        bool,
        typer.Option(
            "--keep-later",
            help="Leave rows that were changed after the load as they are. Without it they are an "
            "error.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be restored and how values would change; write nothing.",
        ),
    ] = False,
    show_all: ShowAll = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Take a load back: restore what it has replaced, and delete what it has added.

    That is a correction: the next `revalue value` restates what it affects. It is recorded as a
    load, so that it can be taken back, too. Loads of prices, fx_rates and positions can be.
    """
    movers = movers_of(dry_run=dry_run, show_all=show_all)
    context = CliContext.of(ctx)
    take = partial(revert, load_id=load, keep_later=keep_later)

    async def count(database: Database) -> Revert:
        with load_line(show=not as_json) as on_progress:
            return await look(database, load, keep_later=keep_later, on_progress=on_progress)

    async def run(database: Database) -> Revert | Preview:
        if dry_run:
            with preview_line(show=not as_json) as on_progress:
                return await preview(
                    database, take, context.settings, movers=movers, on_progress=on_progress
                )
        with load_line(show=not as_json) as on_progress:
            done = await take(database, on_progress=on_progress)
        log_revert(done)
        return done

    if not yes and not dry_run:
        found = context.run(count)  # first: what cannot be taken back is no question
        require_somebody(f"load {load} would be taken back (--dry-run shows it)")
        err.print(describe_revert(found, is_done=False))
        require_confirmation(f"load {load} would be taken back", confirmed=False)
    done = context.run(run)
    if isinstance(done, Preview):
        if as_json:
            # The number of what is rolled back is not that of a load.
            print_json(
                {**done.as_dict(), "correction": {**asdict(done.correction), "load_id": None}}
            )
        else:
            print_preview(done, show_all=show_all)
    elif as_json:
        print_json(done)
    else:
        print_correction(done)


def _cells(load: recorded.Load) -> tuple[object, ...]:
    triggers = ", ".join(map(str, load.trigger_ids[:_SHOWN_TRIGGERS]))
    if len(load.trigger_ids) > _SHOWN_TRIGGERS:
        triggers += f" and {len(load.trigger_ids) - _SHOWN_TRIGGERS:,} more"
    return (
        str(load.load_id),
        format_time(load.loaded_at),
        load.database_user,
        load.client,
        load.kind,
        load.source,
        load.rows,
        load.inserted,
        load.changed,
        load.unchanged,
        load.removed,
        load.closed,
        triggers or None,
    )
