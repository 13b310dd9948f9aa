"""`revalue loads`: who has loaded which file when."""

from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import format_time, out, print_fitting_table, print_json
from revalue.engine.correct import loads as recorded
from revalue.engine.correct.ingest import Kind

_SHOWN_TRIGGERS = 3
_COLUMNS = (
    *("load", "at", "database user", "by", "kind", "file"),
    *("rows", "new", "changed", "unchanged", "removed", "closed", "triggers"),
)
_DISPENSABLE = ("closed", "removed", "database user", "unchanged", "rows", "triggers", "by", "new")


def loads(
    ctx: typer.Context,
    kind: Annotated[
        Kind | None, typer.Option(metavar="KIND", help="Only loads of this kind.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many loads to list.")] = 20,
    as_json: Json = False,
) -> None:
    """List the newest loads: when, by whom, which file, and what became of its rows.

    The triggers are those that record what a load has corrected. `revalue prune` deletes the
    records of loads that are older than what it keeps.
    """
    found = CliContext.of(ctx).run(
        lambda database: recorded.list_loads(database, kind=kind, most=limit)
    )
    if as_json:
        print_json(found)
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
