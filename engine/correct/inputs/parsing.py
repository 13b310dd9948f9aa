"""Parse the columns of an input into types. Every value that does not fit is reported; no value is
rounded or guessed.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

from revalue.engine.correct.inputs.problems import (
    UNSEEN,
    InputProblem,
    ProblemKind,
    day_number,
    day_numbers,
    find,
    ticks_per_day,
)

EARLIEST, LATEST = date(1900, 1, 1), date(2200, 12, 31)
MAX_ID_CHARACTERS = 200
"""How long an id or another text of an input may be. The API takes as much, and an index entry of
PostgreSQL holds two of them."""

_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"
_OTHER_NUMBER = r"^[+-]?(([0-9]+(\.[0-9]+)?|\.[0-9]+)[eE][+-]?[0-9]{1,3}|\.[0-9]+)$"
"""Numbers with an exponent, or with no digit before the point."""

_INVISIBLE = rf"[\p{{Cf}}\p{{Zl}}\p{{Zp}}\x80-\x9f{UNSEEN}]|[\p{{Zs}}--\x20]"


@dataclass(frozen=True)
class Column:
    """A column of an input.

    Attributes:
        name: its name.
        kind: text, date, integer or decimal.
        digits: digits of a decimal before the point, at most.
        places: digits of a decimal after the point, at most.
        required: a column that is not required may be absent, and its values may be null.
        is_defined: an id that the rows define, and others refer to.
    """

    name: str
    kind: str
    digits: int = 18
    places: int = 10
    required: bool = True
    is_defined: bool = False

    @property
    def sql_type(self) -> str:
        """The PostgreSQL type of the column in the temporary table `incoming`."""
        return {"text": "text", "date": "date", "integer": "bigint"}.get(self.kind, "numeric")


def parse_columns(
    frame: pl.DataFrame, columns: tuple[Column, ...]
) -> tuple[pl.DataFrame, list[InputProblem]]:
    """Parse rows into typed columns.

    Returns:
        The columns, with null for each cell that breaks a rule or is empty, and the rules, with the
        rows that break them.
    """
    problems: list[InputProblem] = []
    known = {column.name for column in columns}
    unknown = f"unknown column: {', '.join(column.name for column in columns)} are expected"
    problems += [
        InputProblem(ProblemKind.UNKNOWN_COLUMN, name, len(frame), unknown)
        for name in frame.columns
        if name not in known
    ]
    series: list[pl.Series] = []
    for column in columns:
        if column.name not in frame.columns:
            if column.required:
                problems.append(
                    InputProblem(
                        ProblemKind.MISSING_COLUMN, column.name, len(frame), "missing column"
                    )
                )
            series.append(
                pl.repeat(None, len(frame), dtype=_dtype(column), eager=True).alias(column.name)
            )
            continue
        raw = frame[column.name]
        if raw.dtype in (pl.Null, pl.Categorical, pl.Enum):
            raw = raw.cast(pl.String)
        empty = raw.is_null() | (raw.str.len_bytes() == 0 if raw.dtype == pl.String else False)
        values, found = _converted(column, raw, empty)
        problems += found
        if column.required:
            problems.append(find(ProblemKind.EMPTY, "missing value", column.name, empty, raw))
        series.append(values.alias(column.name))
    return pl.DataFrame(series), problems


def _dtype(column: Column) -> pl.DataType:
    types: dict[str, pl.DataType] = {"text": pl.String(), "date": pl.Date(), "integer": pl.Int64()}
    return types.get(column.kind) or pl.Decimal(38, column.places)


def _converted(
    column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    convert = {"text": _text, "date": _date, "integer": _integer, "decimal": _decimal}[column.kind]
    return convert(column, raw, empty)


def _wrong_type(column: Column, raw: pl.Series) -> tuple[pl.Series, list[InputProblem]]:
    nothing = pl.repeat(None, len(raw), dtype=_dtype(column), eager=True)
    hint = f"wrong type {raw.dtype}: a column of {column.kind}s is expected"
    return nothing, [InputProblem(ProblemKind.WRONG_TYPE, column.name, len(raw), hint)]


def _text(column: Column, raw: pl.Series, empty: pl.Series) -> tuple[pl.Series, list[InputProblem]]:
    if raw.dtype != pl.String:
        return _wrong_type(column, raw)
    blank = ~empty & (raw.str.strip_chars(" \t\n\v\f\r") != raw)
    # PostgreSQL cannot store NUL, and a reader cannot see the others.
    dots = raw.is_in([".", ".."])
    control = ~blank & raw.str.contains(r"[\x00-\x1f\x7f]")
    long = raw.str.len_chars() > MAX_ID_CHARACTERS
    problems = [
        find(ProblemKind.BLANKS, "blanks around the text", column.name, blank, raw),
        find(
            ProblemKind.CONTROL_CHARACTER,
            "a control character in the text",
            column.name,
            control,
            raw,
        ),
        find(ProblemKind.DOTS, "no id: browsers take it out of an address", column.name, dots, raw),
        find(
            ProblemKind.TOO_LONG,
            f"more than {MAX_ID_CHARACTERS} characters",
            column.name,
            long,
            raw,
        ),
    ]
    bad = empty | blank | dots | control | long
    if column.is_defined:
        alike, found = _look_alikes(column, raw, empty)
        problems += found
        bad = bad | alike
    return _without(raw, bad), problems


def _look_alikes(
    column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    """Find new ids that look like other ids but differ from them.

    Only ids that the rows define are checked: a reference has to be equal to its id anyway, and a
    book may have such ids from before this rule.
    """
    invisible = raw.str.contains(_INVISIBLE)
    composed = raw
    if raw.str.contains(r"[^\x00-\x7f]").any():
        composed = raw.str.normalize("NFC")
    decomposed = ~empty & (composed != raw)
    return (invisible | decomposed).fill_null(False), [
        find(
            ProblemKind.INVISIBLE_CHARACTER,
            "a character that nobody sees, shown as <U+...>: take it out of the id",
            column.name,
            invisible,
            raw,
        ),
        find(
            ProblemKind.NOT_COMPOSED,
            "not in the Unicode form NFC, so that another id can look the same: write a letter and "
            "its marks, shown as <U+...>, as one character",
            column.name,
            decomposed,
            raw,
        ),
    ]


def _date(column: Column, raw: pl.Series, empty: pl.Series) -> tuple[pl.Series, list[InputProblem]]:
    # As numbers of days: polars panics when it converts a date far outside of Python's years.
    if raw.dtype == pl.String:
        shaped = raw.str.contains(r"^\d{4}-\d{2}-\d{2}$")
        days = _without(raw, ~shaped.fill_null(False)).str.to_date("%Y-%m-%d", strict=False)
        numbers = days.to_physical().cast(pl.Int64)
        bad = ~empty & days.is_null()
    elif raw.dtype == pl.Date or (isinstance(raw.dtype, pl.Datetime) and not raw.dtype.time_zone):
        numbers = day_numbers(raw)
        bad = _is_within_a_day(raw)
    else:
        return _wrong_type(column, raw)
    outside = ~numbers.is_between(day_number(EARLIEST), day_number(LATEST)).fill_null(True)
    problems = [
        find(ProblemKind.NOT_A_DATE, "no date (written YYYY-MM-DD)", column.name, bad, raw),
        find(
            ProblemKind.DATE_OUT_OF_RANGE,
            f"date out of range ({EARLIEST} to {LATEST})",
            column.name,
            outside,
            raw,
        ),
    ]
    return _without(numbers, bad | outside).cast(pl.Int32).cast(pl.Date), problems


def _is_within_a_day(days: pl.Series) -> pl.Series:
    """Return whether a time is not midnight."""
    return (days.to_physical().cast(pl.Int64) % ticks_per_day(days.dtype) != 0).fill_null(False)


def _integer(
    column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    if raw.dtype.is_integer():
        raw = raw.cast(pl.String)
    if raw.dtype != pl.String:
        return _wrong_type(column, raw)
    bad = ~empty & ~raw.str.contains(r"^[+-]?[0-9]{1,9}$").fill_null(True)
    problems = [
        find(ProblemKind.NOT_A_NUMBER, "no whole number of up to 9 digits", column.name, bad, raw)
    ]
    return _without(raw, empty | bad).cast(pl.Int64), problems


def _decimal(
    column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    problems: list[InputProblem] = []
    if raw.dtype.is_float():
        infinite = ~empty & ~raw.is_finite().fill_null(True)
        problems += [
            find(
                ProblemKind.NOT_A_NUMBER,
                "not a number (NaN or infinite)",
                column.name,
                infinite,
                raw,
            )
        ]
        # The shortest decimals that read back as the same floats.
        text = _without(raw, infinite).cast(pl.String)
        empty = empty | infinite
    elif raw.dtype == pl.String:
        text = raw
    elif raw.dtype.is_integer() or isinstance(raw.dtype, pl.Decimal):
        if isinstance(raw.dtype, pl.Decimal) and raw.dtype.scale <= column.places:
            whole_digits = raw.dtype.precision - raw.dtype.scale
            if whole_digits <= column.digits:
                return raw.cast(pl.Decimal(38, column.places)), []
        text = raw.cast(pl.String)
    else:
        return _wrong_type(column, raw)
    bad = ~empty & ~text.str.contains(_NUMBER).fill_null(False)
    if bad.any():
        text = _without_exponents(text)
        bad = ~empty & ~text.str.contains(_NUMBER).fill_null(False)
    text = _without(text, empty | bad)
    long = text.str.extract(r"\.([0-9]+)$").str.strip_chars_end("0").str.len_bytes() > column.places
    large = text.str.extract(r"^[+-]?0*([0-9]*)").str.len_bytes() > column.digits
    problems += [
        find(ProblemKind.NOT_A_NUMBER, "not a number such as 1070.5", column.name, bad, raw),
        find(
            ProblemKind.TOO_MANY_PLACES,
            f"more than {column.places} decimal places: round it before loading",
            column.name,
            long,
            raw,
        ),
        find(
            ProblemKind.TOO_LARGE,
            f"more than {column.digits} digits before the point",
            column.name,
            large,
            raw,
        ),
    ]
    fits = _without(text, (long | large).fill_null(False))
    return fits.cast(pl.Decimal(38, column.places)), problems


def _without_exponents(text: pl.Series) -> pl.Series:
    """Return numbers like `1.2e-3` and `.5` as `0.0012` and `0.5`, exactly; others as they are."""
    distinct = text.filter(text.str.contains(_OTHER_NUMBER).fill_null(False)).unique()
    written = pl.Series([f"{Decimal(value):f}" for value in distinct], dtype=pl.String)
    return text.replace(distinct, written)


def _without(values: pl.Series, bad: pl.Series) -> pl.Series:
    """Return the values, null where `bad`."""
    if not bad.any():
        return values
    return values.zip_with(
        ~bad.fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True)
    )
