"""How results are printed: JSON for programs, tables and sentences for people.

Decimals and dates are text in both.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]+)?$")

# Soft-wrapped: a line of output stays one line for a program that reads it.
out = Console(highlight=False, soft_wrap=True)
_wide = Console(highlight=False, soft_wrap=True, width=200)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(_plain(value) if is_dataclass(value) else value, default=_plain, indent=2))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date | datetime):
        return value.isoformat()
    if hasattr(value, "lower") and hasattr(value, "upper"):
        return [value.lower, value.upper]
    return str(value)


def counted(number: int, noun: str) -> str:
    """Format a count: `1 job`, `2 jobs`, `1,142 positions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tidy(text: str) -> str:
    """Remove the trailing zeros of the numbers in a text: a stored price has ten decimal places."""
    return re.sub(r"(?<=\d)(\.\d*?)0+(?!\d)", lambda m: m[1].rstrip("."), text)


def format_time(time: datetime) -> str:
    """Format a point in time to the second, with its time zone."""
    return f"{time:%Y-%m-%d %H:%M:%S %Z}".rstrip()


def format_range(first: date | None, last: date | None) -> str:
    """Format a range of dates, last one included: `2016-03-15 to 2016-03-18`.

    One day is `2016-03-15`. A missing end is open: `2016-03-15 onwards`, `until 2016-03-18`.
    """
    if first is None:
        return "all dates" if last is None else f"until {last}"
    if last is None:
        return f"{first} onwards"
    return f"{first}" if first == last else f"{first} to {last}"


def format_ranges(ranges: Iterable[tuple[date | None, date | None]]) -> str:
    """Format ranges of dates, each with its last date included, separated by commas."""
    return ", ".join(format_range(first, last) for first, last in ranges)


def on_dates(ranges: Sequence[tuple[date | None, date | None]]) -> str:
    """Format ranges of dates after a verb: `on 2016-03-15`, `from 2016-03-15 to 2016-03-18`."""
    text = format_ranges(ranges)
    if len(ranges) > 1:
        return f"on {text}"
    first, last = ranges[0]
    return text if first is None else f"on {text}" if first == last else f"from {text}"


def _cell(name: str, value: Any) -> str:
    """Format a cell. Ids have no thousands separators: they are copied into other commands."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not name.endswith("_id") else str(value)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table: numbers aligned right, None as a dash.

    In a file or a pipe the table is as wide as it needs to be.
    """
    table = Table(title=title, title_justify="left", header_style="bold")
    listed = [list(row) for row in rows]
    for index, name in enumerate(columns):
        numeric = any(_NUMBER.match(str(row[index])) for row in listed)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_cell(name, cell) for name, cell in zip(columns, row, strict=True)))
    (out if out.is_terminal else _wide).print(table)
