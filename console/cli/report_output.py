"""Where the rows of a report go: a table of the first ones, CSV in a pipe, JSON, or a file."""

import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import typer

from revalue.console.cli.context import CliContext
from revalue.console.cli.output import (
    counted,
    end_for_broken_pipe,
    err,
    out,
    print_fitting_table,
    print_json,
)
from revalue.console.cli.stop_signals import told_when_stopped
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.read.explain import formatted
from revalue.engine.read.files import Columns, csv_writer, require_format, write_file

_SHOWN_ROWS = 50

Cells: TypeAlias = dict[str, Callable[[dict[str, Any]], Any]]
"""The columns of a table, and how each is made of a row."""


@dataclass(frozen=True)
class Target:
    """Where rows go: a file; or standard output, as a table, CSV or JSON.

    columns: those of files, CSV and JSON, with their types.
    cells: those of the table.
    dispensable: cells that a narrow terminal goes without, the first one first; a date only if all
        rows have the same, which the summary says.
    """

    output: Path | None
    as_json: bool
    columns: Columns
    cells: Cells
    dispensable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.output is not None:
            if self.as_json:
                raise UsageError("give --output or --json: not both")
            require_format(self.output)

    async def put(
        self, frames: AsyncGenerator[pl.DataFrame], summary: Callable[[], object]
    ) -> None:
        """Write the rows, and a summary on standard error.

        Args:
            summary: is called when all rows are read.
        """
        async with aclosing(frames):
            if self.output is not None:
                rows = await write_file(self.output, self.columns, frames)
                err.print(f"{self.output}: {counted(rows, 'row')}; {summary()}")
                return
            await self._print(frames)
        err.print(str(summary()))

    async def _print(self, frames: AsyncGenerator[pl.DataFrame, None]) -> None:
        if self.as_json:
            print_json([row async for frame in frames for row in frame.iter_rows(named=True)])
        elif sys.stdout.isatty():
            await self._print_first(frames)
        else:
            try:
                with csv_writer(sys.stdout.buffer, self.columns) as write:
                    async for frame in frames:
                        write(frame)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                end_for_broken_pipe()
            except OSError as error:
                raise UsageError(
                    f"standard output cannot be written: {error.strerror or error}"
                ) from error

    async def _print_first(self, frames: AsyncGenerator[pl.DataFrame, None]) -> None:
        shown: list[dict[str, Any]] = []
        rows = 0
        dates: set[Any] = set()
        async for frame in frames:
            rows += len(frame)
            dates |= set(frame["date"].unique()) if "date" in frame.columns else set()
            shown += frame.head(_SHOWN_ROWS - len(shown)).rows(named=True)
        left_out = print_fitting_table(
            list(self.cells),
            [[make(row) for make in self.cells.values()] for row in shown],
            dispensable=[name for name in self.dispensable if name != "date" or len(dates) == 1],
        )
        if left_out:
            out.print(
                f"left out, because the terminal is narrow: {', '.join(left_out)}. All columns are "
                "in a pipe, or in a file by --output"
            )
        if rows > len(shown):
            out.print(
                f"{rows - len(shown):,} more rows: all are in a pipe, or in a file by --output"
            )


def run_report(
    ctx: typer.Context, target: Target, work: Callable[[Database], Coroutine[Any, Any, None]]
) -> None:
    """Open the database and put a report into its target; if it is stopped, say what is there."""
    before = _version(target.output)

    def say() -> str:
        if target.output is None:
            return "the output is not complete"
        if _version(target.output) != before:
            return f"{target.output} is complete"
        older = "" if before is None else "; the file of that name is as it was before"
        return f"{target.output} was not written{older}"

    with told_when_stopped(say):
        CliContext.of(ctx).run(work)


def _version(file: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from the one that replaces it; None: there is no file."""
    try:
        found = None if file is None else file.stat()
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns)


def number(name: str) -> Callable[[dict[str, Any]], str | None]:
    """Return what makes a cell of a number, with all of its digits."""
    return lambda row: None if row[name] is None else formatted(row[name])


def money(name: str) -> Callable[[dict[str, Any]], str | None]:
    """Return what makes a cell of an amount: two decimals, for people."""
    return lambda row: None if row[name] is None else f"{row[name]:,.2f}"
