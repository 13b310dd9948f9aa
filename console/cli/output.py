"""How results are shown: JSON for programs, tables for people. Decimals and dates are text in both."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from revalue.console.json_values import to_json_value

_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]+)?$")

# Soft-wrapped: a line of output stays one line for a program that reads it.
out = Console(highlight=False, soft_wrap=True)
_wide = Console(highlight=False, soft_wrap=True, width=200)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(to_json_value(value), default=str, indent=2))


def counted(number: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tidy(text: str) -> str:
    """The numbers of a text without trailing zeros: the ten places of a stored price say nothing."""
    return re.sub(r"(?<=\d)(\.\d*?)0+(?!\d)", lambda m: m[1].rstrip("."), text)


def _cell(name: str, value: Any) -> str:
    """An id is given to other commands, so that it has no separators."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not name.endswith("_id") else str(value)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table; numbers to the right, None as a dash. In a file or a pipe it is as wide as it needs to be."""
    table = Table(title=title, title_justify="left", header_style="bold")
    listed = [list(row) for row in rows]
    for index, name in enumerate(columns):
        numeric = any(_NUMBER.match(str(row[index])) for row in listed)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_cell(name, cell) for name, cell in zip(columns, row, strict=True)))
    (out if out.is_terminal else _wide).print(table)
