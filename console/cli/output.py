"""How results are printed: JSON for programs, tables and sentences for people.

Decimals and dates are text in both.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from revalue.console.json_values import to_json_value
from revalue.engine.core.date_ranges import DateRange

_ANY_WIDTH = 100_000
_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]+)?$")


class _Console(Console):
    """Prints text as it is, so that an id like `FUND[red]` or `A:smile:B` stays what it is.

    Soft-wrapped: a line of output stays one line for a program that reads it.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(
            stderr=stderr, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True
        )

    def on_broken_pipe(self) -> None:
        """End as `cat` does when the program that reads the output ends first (`| head`)."""
        end_for_broken_pipe()


out = _Console()
_wide = _Console(width=200)
err = _Console(stderr=True)


def end_for_broken_pipe() -> NoReturn:
    """End the process with the exit code of SIGPIPE: nobody reads its output any more."""
    # What is still buffered goes nowhere: writing it at the end would raise again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    try:
        print(json.dumps(to_json_value(value), default=str, indent=2), flush=True)
    except BrokenPipeError:
        end_for_broken_pipe()


def counted(number: int, noun: str) -> str:
    """Format a count: `1 job`, `2 jobs`, `1,142 positions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tidy(text: str) -> str:
    """Remove the trailing zeros of the numbers in a text: a stored price has ten decimal places."""
    return re.sub(r"(?<=\d)(\.\d*?)0+(?!\d)", lambda m: m[1].rstrip("."), text)


def format_time(time: datetime) -> str:
    """Format a point in time to the second, with its time zone."""
    return f"{time:%Y-%m-%d %H:%M:%S %Z}".rstrip()


def on_dates(ranges: Sequence[DateRange]) -> str:
    """Format ranges of dates after a verb: `on 2016-03-15`, `from 2016-03-15 to 2016-03-18`."""
    text = ", ".join(map(str, ranges))
    if len(ranges) > 1:
        return f"on {text}"
    first, last = ranges[0].first_date, ranges[0].last_date
    return text if first is None else f"on {text}" if first == last else f"from {text}"


def print_warnings(warnings: Iterable[str]) -> None:
    """Print what was done and is strange, on standard error."""
    for warning in warnings:
        err.print(f"warning: {warning}")


def _cell(name: str, value: Any) -> str:
    """Format a cell. Ids have no thousands separators: they are copied into other commands."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not name.endswith("_id") else str(value)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    console: Console | None = None,
) -> None:
    """Print a table: numbers aligned right, None as a dash.

    In a file or a pipe the table is as wide as it needs to be. `console` is where it goes if not to
    standard output.
    """
    (console or (out if out.is_terminal else _wide)).print(_table(title, columns, rows))


def print_fitting_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, dispensable: Sequence[str]
) -> list[str]:
    """Print a table on the terminal, without columns for which it is too narrow.

    No cell is folded: an id is copied into other commands. If the terminal is too narrow for what
    is left, it breaks the lines itself. In a file or a pipe the table has all columns.

    Args:
        columns: the names of the columns.
        rows: their cells.
        dispensable: columns that may be left out, the first one first.

    Returns:
        The columns that were left out.
    """
    kept = list(columns)
    listed = [dict(zip(columns, row, strict=True)) for row in rows]

    def table() -> Table:
        return _table("", kept, [[row[name] for name in kept] for row in listed])

    def width() -> int:
        return out.measure(table(), options=out.options.update(width=_ANY_WIDTH)).maximum

    left_out: list[str] = []
    for name in dispensable:
        if not out.is_terminal or width() <= out.width:
            break
        kept.remove(name)
        left_out.append(name)
    needed = width()
    (out if needed <= out.width else _Console(width=needed)).print(table())
    return left_out


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    listed = [list(row) for row in rows]
    for index, name in enumerate(columns):
        numeric = any(_NUMBER.match(str(row[index])) for row in listed)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_cell(name, cell) for name, cell in zip(columns, row, strict=True)))
    return table
