"""`revalue lake sql`: a query of DuckDB over the published numbers, or a prompt for several."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, err, out
from revalue.console.cli.report_options import KnownAt, Output
from revalue.console.cli.report_output import Target
from revalue.engine.errors import RevalueError, UsageError
from revalue.engine.read.explain import formatted
from revalue.engine.read.lake_sql import LakeSql, SqlResult

_MANY_ROWS = 100_000
_PROMPT = "lake> "
_ENDS = {"exit", "quit", ".exit", ".quit", "\\q"}


def lake_sql(
    ctx: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="One statement or several of DuckDB, the rows of the last one are shown. Without "
            "it a prompt opens on a terminal; elsewhere standard input is read.",
        ),
    ] = None,
    known_at: KnownAt = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Query the published numbers of PostgreSQL and the lake with DuckDB, as of one moment.

    The view position_valuations has a row for each position and date that shows a number. It stays
    as it was when the command began. On a terminal the result is a table of the first rows, in a
    pipe CSV with all of them.
    """
    if query is None and not sys.stdin.isatty():
        query = sys.stdin.read()
    if query is None and (output is not None or as_json):
        raise UsageError("give a QUERY with --output and --json")
    Target(output, as_json, {}, {})  # refuses what cannot be written, before the query has run
    opened = CliContext.of(ctx).run(lambda database: LakeSql.opened(database, known_at=known_at))
    try:
        if opened.rows_from_postgresql > _MANY_ROWS:
            err.print(
                f"{opened.rows_from_postgresql:,} rows were read from PostgreSQL: `revalue lake "
                "maintain` moves those of closed months into files"
            )
        if query is not None:
            _run(opened, query, output, as_json)
        else:
            _ask(opened)
    finally:
        opened.close()


def _ask(opened: LakeSql) -> None:
    """Run each line that is typed, until the end of the input."""
    import readline  # noqa: F401  # lines can be edited and called up again

    out.print("One query a line, of the view position_valuations. Ctrl-D ends it.")
    while True:
        try:
            line = input(_PROMPT).strip()
        except EOFError:
            out.print()
            return
        except KeyboardInterrupt:
            out.print()
            continue
        if line in _ENDS:
            return
        if not line:
            continue
        try:
            _run(opened, line, None, False)
        except RevalueError as error:
            err.print(str(error))
        except KeyboardInterrupt:
            err.print("stopped")


def _run(opened: LakeSql, query: str, output: Path | None, as_json: bool) -> None:
    async def run() -> None:
        found = await _in_thread(opened, lambda: opened.query(query))
        if found is None:
            return
        rows = 0

        async def frames() -> AsyncGenerator[pl.DataFrame, None]:
            nonlocal rows
            while (frame := await _in_thread(opened, lambda: next(found.frames, None))) is not None:
                rows += len(frame)
                yield frame

        target = Target(output, as_json, found.columns, _cells(found))
        try:
            await target.put(frames(), lambda: counted(rows, "row"))
        except pl.exceptions.ComputeError as error:
            raise UsageError(
                f"the result cannot be written as CSV: {error}. Cast the column, or give --json "
                "or a file that ends in .parquet"
            ) from error
        finally:
            found.close()

    asyncio.run(run())


async def _in_thread(opened: LakeSql, work: Callable[[], Any]) -> Any:
    """Do work of DuckDB; end it if Ctrl-C ends the command."""
    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        opened.interrupt()
        raise


def _cells(found: SqlResult) -> dict[str, Callable[[dict[str, Any]], Any]]:
    def cell(name: str) -> Callable[[dict[str, Any]], Any]:
        return lambda row: formatted(row[name]) if isinstance(row[name], Decimal) else row[name]

    return {name: cell(name) for name in found.columns}
