"""`revalue export`: keep a table of the published numbers for other engines in step."""

from dataclasses import asdict
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, format_time, out, print_json
from revalue.console.cli.progress import export_line
from revalue.console.cli.stop_signals import told_when_stopped
from revalue.engine.export.export import Exported, ExportProgress, Format
from revalue.engine.export.export import export as export_table
from revalue.engine.postgres.database import Database


def export(
    ctx: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="Folder, or s3://BUCKET/PREFIX: empty, or a table made by this."
        ),
    ],
    format: Annotated[Format, typer.Option("--format", help="Of the table. It stays what it is.")],
    as_json: Json = False,
) -> None:
    """Write the published numbers as a table for other engines, or bring such a table in step.

    A table has the numbers of one moment. Only months in which a number changed since the last
    export are written, and readers of the table see them all at once. It can be stopped (Ctrl-C)
    and be run again.
    """

    written = ExportProgress(0, 0, 0)

    async def run(database: Database) -> Exported:
        with export_line() as draw:

            def tell(now: ExportProgress) -> None:
                nonlocal written
                written = now
                draw(now)

            return await export_table(database, target, format=format, on_progress=tell)

    with told_when_stopped(lambda: _so_far(written)):
        done = CliContext.of(ctx).run(run)
    if as_json:
        print_json(asdict(done))
    else:
        out.print(_describe(done))


def _so_far(written: ExportProgress) -> str:
    """Say what an export has done that was stopped."""
    if written.months and written.months_done == written.months:
        return "it was about to commit. Run it again: it says whether something is new"
    return "the table is as it was before; files that it does not list may be left there"


def _describe(done: Exported) -> str:
    table = f"version {done.version} of {done.target}"
    at = format_time(done.moment)
    if not done.is_new:
        return f"Nothing is new: {table} ({at}) is what readers see now"
    why = " (what happened since the last export is pruned: all of it is new)"
    return (
        f"{counted(done.rows, 'row')} of {counted(len(done.months), 'month')} in "
        f"{counted(done.files, 'file')}, {done.bytes:,} bytes: {table} stands for {at}"
        f"{why if done.is_rewritten else ''}"
    )
