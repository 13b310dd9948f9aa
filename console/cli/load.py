"""`revalue load`: load a file. `revalue sample`: load the sample book."""

from pathlib import Path
from typing import Annotated

import typer

from revalue.console import sample
from revalue.console.cli.arguments import Json
from revalue.console.cli.checks import writable_folder
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, out, print_json, print_table, tidy
from revalue.console.cli.progress import load_line
from revalue.engine.correct import ingest
from revalue.engine.correct.ingest import Kind, LoadResult
from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Database

_SHOWN_RECORDS = 10


def load(
    ctx: typer.Context,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What the file contains.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet or CSV.")],
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Of positions: remove the later records of a position that FILE does not contain.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check FILE and load it as a whole; if any row is wrong, nothing is loaded.

    Loading the same file again changes nothing. Other values are a correction: the next `revalue
    value` restates what they affect. What FILE does not contain stays as it is.
    """

    context = CliContext.of(ctx)

    async def run(database: Database) -> LoadResult:
        with load_line(show=not as_json) as on_progress:
            loaded = await ingest.load(
                database, kind, file, replace=replace, on_progress=on_progress
            )
            if context.settings.database_url is None:
                await embedded.release_log(database)
        return loaded

    result = context.run(run)
    if as_json:
        print_json(result)
    else:
        _print(result)


def _print(result: LoadResult) -> None:
    out.print(_describe(result))
    if not result.removed:
        return
    shown = result.removed_records[:_SHOWN_RECORDS]
    print_table(
        "Removed position records"
        + (
            f", the first {len(shown)} of {result.removed:,} (all: --json)"
            if len(shown) < result.removed
            else ""
        ),
        ("portfolio", "security", "date", "quantity"),
        [
            (each.portfolio_id, each.security_id, each.position_date, tidy(f"{each.quantity:f}"))
            for each in shown
        ],
    )


def _describe(result: LoadResult) -> str:
    text = (
        f"{result.kind}: {counted(result.rows, 'row')}: {result.inserted:,} new, "
        f"{result.changed:,} changed, {result.unchanged:,} unchanged"
    )
    if result.removed:
        text += f", {result.removed:,} removed"
    if result.kind == Kind.POSITIONS:
        text += (
            f"; {counted(result.positions_corrected, 'position')} corrected, "
            f"{result.positions_extended:,} extended"
        )
    return text


def load_sample(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="Write the files of the sample book here; load nothing."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Load the sample book (real prices and FX rates, invented holdings), or write its files."""
    if folder is not None:
        paths = sample.export(writable_folder(folder))
        if as_json:
            print_json({"files": paths})
        else:
            for path in paths:
                out.print(str(path))
        return

    async def run(database: Database) -> list[LoadResult]:
        results = []
        for kind, frame in sample.frames().items():
            results.append(await ingest.load(database, kind, frame))
            if not as_json:
                out.print(_describe(results[-1]))
        return results

    results = CliContext.of(ctx).run(run)
    if as_json:
        print_json(results)
