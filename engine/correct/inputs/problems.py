"""The rules that an input can break, and where it breaks them."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum

import polars as pl

from revalue.engine.errors import InvalidInputError

SHOWN_ROWS = 5
"""How many rows of a broken rule are named."""

UNSEEN = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef"
)
"""Characters without a picture, in a class of a regular expression: of those that Unicode counts
among the letters, marks and symbols. (Format characters, and all blanks but one, are none either.)
"""

_SHOWN_CHARACTERS = 60
_EPOCH = date(1970, 1, 1)
_TICKS_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


class ProblemKind(StrEnum):
    """Which rule an input breaks, for programs; the hint of a problem says it to people."""

    MISSING_COLUMN = "missing_column"
    UNKNOWN_COLUMN = "unknown_column"
    WRONG_TYPE = "wrong_type"
    EMPTY = "empty"
    BLANKS = "blanks"
    CONTROL_CHARACTER = "control_character"
    INVISIBLE_CHARACTER = "invisible_character"
    NOT_COMPOSED = "not_composed"
    DOTS = "dots"
    TOO_LONG = "too_long"
    NOT_A_DATE = "not_a_date"
    DATE_OUT_OF_RANGE = "date_out_of_range"
    NOT_A_NUMBER = "not_a_number"
    TOO_MANY_PLACES = "too_many_places"
    TOO_LARGE = "too_large"
    OUT_OF_RANGE = "out_of_range"
    NOT_POSITIVE = "not_positive"
    DUPLICATE_KEY = "duplicate_key"
    SAME_CURRENCY = "same_currency"
    UNKNOWN_QUOTE_BASIS = "unknown_quote_basis"
    COST_WITHOUT_QUANTITY = "cost_without_quantity"
    UNKNOWN_REFERENCE = "unknown_reference"
    MINOR_CURRENCY = "minor_currency"
    MULTIPLIER_MISSING = "multiplier_missing"
    NOT_STORED = "not_stored"


@dataclass(frozen=True)
class InputProblem:
    """One rule that an input breaks.

    Attributes:
        kind: which rule.
        column: in which column.
        count: in how many rows.
        hint: the rule in words.
        rows: the first of these rows: (line or row number, value).
    """

    kind: ProblemKind
    column: str
    count: int
    hint: str
    rows: tuple[tuple[int, str], ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether there is anything to report: an input without rows can lack a column too."""
        return self.count > 0 or self.kind in _OF_COLUMNS


_OF_COLUMNS = (ProblemKind.MISSING_COLUMN, ProblemKind.UNKNOWN_COLUMN, ProblemKind.WRONG_TYPE)


class Problems:
    """The broken rules of an input that is read in batches, each rule once.

    Every batch states every rule, with the number of rows that break it: so the order of the rules
    is that of the first batch.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[ProblemKind, str, str], InputProblem] = {}

    def add(self, problems: Iterable[InputProblem], first_row: int = 0) -> None:
        """Add what one batch breaks.

        Args:
            problems: their rows are numbers of rows of the batch.
            first_row: the number of the first row of the batch.
        """
        for new in problems:
            rule = (new.kind, new.column, new.hint)
            rows = tuple((number + first_row, value) for number, value in new.rows)
            before = self._found.get(rule)
            if before is not None:
                rows = (before.rows + rows)[:SHOWN_ROWS]
            count = new.count + (before.count if before is not None else 0)
            self._found[rule] = replace(new, count=count, rows=rows)

    def listed(self, first_line: int) -> list[InputProblem]:
        """Return the broken rules.

        Args:
            first_line: the number of the first row in messages.
        """
        return [
            replace(each, rows=tuple((number + first_line, value) for number, value in each.rows))
            for each in self._found.values()
            if each.is_broken
        ]


class RejectedInputError(InvalidInputError):
    """The input breaks rules, so nothing of it was written. `problems` lists the broken rules."""

    def __init__(self, place: str, rows: int, unit: str, problems: list[InputProblem]) -> None:
        self.problems = problems
        lines = [f"{place}: {_counted(rows)}, nothing loaded"]
        for problem in problems:
            line = f"  {shown(problem.column)}: {problem.hint}"
            if problem.kind not in _OF_COLUMNS:
                line += f": {_counted(problem.count)}"
            if problem.rows:
                named = (f"{unit} {number}: {shown(value)}" for number, value in problem.rows)
                line += f" ({', '.join(named)})"
            lines.append(line)
        super().__init__("\n".join(lines))


def _counted(rows: int) -> str:
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"


def find(
    kind: ProblemKind, hint: str, column: str, bad: pl.Series, values: pl.Series
) -> InputProblem:
    """Return the rule, with the rows of a batch where `bad` is true; their values are shown."""
    index = bad.fill_null(False).arg_true()
    first = index[:SHOWN_ROWS]
    rows = tuple(
        (int(i), text) for i, text in zip(first, _texts(values.gather(first)), strict=True)
    )
    return InputProblem(kind, column, len(index), hint, rows)


def shown(value: str) -> str:
    """Return a value as a message shows it: shortened, and quoted where it could be misread.

    A character that nobody sees, and one that looks as if it were part of another, is shown as its
    code point: `S<U+200B>`.
    """
    text = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}..."
    is_composed = unicodedata.is_normalized("NFC", text)
    text = "".join(
        each if is_seen(each) and (is_composed or _is_whole(each)) else f"<U+{ord(each):04X}>"
        for each in text
    )
    return text if text and text == text.strip() else f"'{text}'"


def is_seen(character: str) -> bool:
    """Return whether a character can be seen, or is the one blank that everybody types."""
    return character.isprintable() and not re.match(f"[{UNSEEN}]", character)


def _is_whole(character: str) -> bool:
    """Return whether a character is a letter of its own, in a text that is not in the form NFC."""
    return unicodedata.normalize("NFC", character) == character and not (
        unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"
    )


def _texts(cells: pl.Series) -> list[str]:
    """Return cells as a message shows them; a date outside of Python's years as a number."""
    if cells.dtype not in (pl.Date, pl.Datetime):
        return ["" if cell is None else _text(cell) for cell in cells]
    texts = []
    for place, number in enumerate(day_numbers(cells)):
        if number is None:
            texts.append("")
        elif day_number(date.min) <= number <= day_number(date.max):
            texts.append(str(cells[place]))
        else:
            texts.append(f"{number:,} days after {_EPOCH}")
    return texts


def day_number(day: date) -> int:
    """Return a date as days since 1970-01-01."""
    return (day - _EPOCH).days


def ticks_per_day(dtype: pl.DataType) -> int:
    """Return how many units of a column of dates or times are a day."""
    return _TICKS_PER_DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1


def day_numbers(days: pl.Series) -> pl.Series:
    """Return dates or times as days since 1970-01-01."""
    return days.to_physical().cast(pl.Int64) // ticks_per_day(days.dtype)


def _text(cell: object) -> str:
    """Return a cell as text: 0E-10 is 0.0000000000."""
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)
