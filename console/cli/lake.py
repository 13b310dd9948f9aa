"""`revalue lake`: look after the Parquet files that hold snapshots."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json, Yes
from revalue.console.cli.checks import require_confirmation
from revalue.console.cli.context import CliContext
from revalue.console.cli.lake_sql import lake_sql
from revalue.console.cli.output import counted, err, out, print_json, print_table
from revalue.engine.lake import check as lake_check
from revalue.engine.lake import ownership
from revalue.engine.lake.check import LakeCheck
from revalue.engine.lake.maintain import Maintained
from revalue.engine.lake.maintain import maintain as maintain_lake

app = typer.Typer(
    no_args_is_help=True, help="Look after the files of REVALUE_LAKE.", rich_markup_mode=None
)

app.command("sql")(lake_sql)

_WRONG = 1
_SHOWN = 20


@app.command("status")
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Say where the lake is and how much is in it, as it is recorded."""
    found = CliContext.of(ctx).run(lake_check.summary)
    if as_json:
        print_json(asdict(found))
        return
    dates = "" if found.first_date is None else f", {found.first_date} to {found.last_date}"
    out.print(f"{found.address}: {counted(found.files, 'file')}, {found.bytes:,} bytes")
    out.print(f"{counted(found.rows, 'row')}{dates}")
    if not found.is_own:
        out.print("This database is a copy of the one that made the lake: it cannot write to it")


@app.command("check")
def check(ctx: typer.Context, as_json: Json = False) -> None:
    """Read all files: is each of them there, and each row once? Exit code 1: no."""
    found = CliContext.of(ctx).run(lake_check.check)
    if as_json:
        print_json({**asdict(found), "is_sound": found.is_sound})
    else:
        _print(found)
    if not found.is_sound:
        raise typer.Exit(_WRONG)


def _print(found: LakeCheck) -> None:
    out.print(f"{counted(found.files, 'file')} with {counted(found.rows, 'row')} read")
    for what, paths in (
        ("missing, or not of the recorded size", found.missing),
        ("with other bytes than when they were stored", found.damaged),
    ):
        if paths:
            out.print(f"{counted(len(paths), 'file')} {what}:")
            for path in paths[:_SHOWN]:
                out.print(f"  {path}")
    if found.twice:
        out.print(f"{counted(found.twice, 'row')} stored more than once:")
        for example in found.examples:
            out.print(f"  {example}")
    if found.orphans:
        size = sum(file.size for file in found.orphans)
        out.print(
            f"{counted(len(found.orphans), 'file')} of {size:,} bytes that nothing refers to: "
            "`revalue lake sweep` deletes them"
        )
    out.print("The lake is sound" if found.is_sound else "The lake is damaged")


@app.command("maintain")
def maintain(ctx: typer.Context, as_json: Json = False) -> None:
    """Merge small files into one for each month, and move rows of closed months out of PostgreSQL.

    Superseded rows that nobody can ask for since the last prune are left out. It can run beside a
    scheduler, be stopped (Ctrl-C) and be run again.
    """

    def tell(done: Maintained) -> None:
        err.print(f"… {_done(done)}")

    found = CliContext.of(ctx).run(lambda database: maintain_lake(database, on_step=tell))
    if as_json:
        print_json(asdict(found))
    else:
        out.print(_done(found))


def _done(done: Maintained) -> str:
    return (
        f"{counted(done.files_merged, 'file')} merged, {counted(done.rows_moved, 'row')} moved out "
        f"of PostgreSQL, {counted(done.rows_dropped, 'superseded row')} dropped; "
        f"{counted(done.files_made, 'file')} made"
    )


@app.command("sweep")
def sweep(
    ctx: typer.Context,
    hours: Annotated[
        int, typer.Option(min=6, max=87_600, help="Only files that were stored so many hours ago.")
    ] = 24,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list them.")] = False,
    as_json: Json = False,
) -> None:
    """Delete files that nothing refers to: of attempts that died, or replaced by merged ones."""
    swept = CliContext.of(ctx).run(
        lambda database: lake_check.sweep(
            database, older_than=timedelta(hours=hours), dry_run=dry_run
        )
    )
    if as_json:
        print_json([file._asdict() for file in swept])
        return
    will = "would be" if dry_run else "were"
    print_table(
        f"{counted(len(swept), 'file')} {will} deleted",
        ("file", "bytes", "stored"),
        ((file.path, file.size, file.modified) for file in swept[:_SHOWN]),
    )


@app.command("adopt")
def adopt(ctx: typer.Context, yes: Yes = False) -> None:
    """Let this database write to the lake, after a restore: the one that made it must be gone."""
    require_confirmation(
        "only one database may write to a lake: the other one would lose files", confirmed=yes
    )
    CliContext.of(ctx).run(ownership.adopt)
    out.print("The lake is this database's own")
