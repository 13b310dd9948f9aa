"""From a file or a frame to typed columns: every value that does not fit is found, none is rounded or guessed."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pyarrow as pa

from revalue.engine.errors import InvalidInputError

EARLIEST, LATEST = date(1900, 1, 1), date(2200, 12, 31)
_SHOWN_ROWS = 5
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"


class ProblemKind(StrEnum):
    """Which rule an input breaks, for programs; a problem's hint says it to people."""

    MISSING_COLUMN = "missing_column"
    UNKNOWN_COLUMN = "unknown_column"
    WRONG_TYPE = "wrong_type"
    EMPTY = "empty"
    BLANKS = "blanks"
    CONTROL_CHARACTER = "control_character"
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
class Column:
    """A column of an input: kind is text, date, integer or decimal; a decimal has `digits` before and `places` after
    the point. A column that is not required may be absent, and its values may be null."""

    name: str
    kind: str
    digits: int = 18
    places: int = 10
    required: bool = True

    @property
    def sql_type(self) -> str:
        """Its type in a temporary table."""
        return {"text": "text", "date": "date", "integer": "bigint"}.get(self.kind, "numeric")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: in which column, in how many rows, and the first of them as (line or row, value)."""

    kind: ProblemKind
    column: str
    count: int
    hint: str
    rows: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Source:
    """An input as read: `place` says where it came from; rows are named by line in a file that has lines."""

    frame: pl.DataFrame
    place: str
    first_line: int
    unit: str

    def problem(
        self,
        kind: ProblemKind,
        hint: str,
        column: str,
        bad: pl.Series,
        values: pl.Series | None = None,
    ) -> Problem | None:
        """The problem of the rows where `bad` is true; None when there are none."""
        index = bad.fill_null(False).arg_true()
        if index.is_empty():
            return None
        shown = index[:_SHOWN_ROWS]
        cells = (values if values is not None else self.frame[column]).gather(shown)
        rows = tuple(
            (int(i) + self.first_line, "" if v is None else str(v))
            for i, v in zip(shown, cells, strict=True)
        )
        return Problem(kind, column, len(index), hint, rows)


Input: TypeAlias = Path | str | pl.DataFrame | pa.Table | Source
"""What can be loaded: a file's name, a frame, a table, or what was read of one."""


def read(source: Input) -> Source:
    """Reads Parquet or CSV (by suffix) or takes a frame. Raises InvalidInputError when it cannot be read at all."""
    if isinstance(source, Source):
        return source
    if isinstance(source, pl.DataFrame):
        return Source(source, "the frame", 1, "row")
    if isinstance(source, pa.Table):
        return Source(_from_arrow(source), "the table", 1, "row")
    path = Path(source)
    if not path.is_file():
        raise InvalidInputError(
            f"{path} is a folder, not a file" if path.is_dir() else f"there is no file {path}"
        )
    if path.suffix.lower() == ".parquet":
        return from_parquet(path, str(path))
    if path.suffix.lower() != ".csv":
        raise InvalidInputError(
            f"{path}: the suffix {path.suffix!r} is not known: .parquet and .csv are"
        )
    try:
        return from_csv(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error


def from_csv(content: bytes, place: str) -> Source:
    """The rows of a CSV file's content. Raises InvalidInputError."""
    try:
        frame = pl.read_csv(content, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InvalidInputError(f"{place} cannot be read: {error}") from error
    # A quoted line break or a line left out makes later line numbers wrong: then rows are counted, not lines.
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    return Source(frame, place, *((2, "line") if lines == len(frame) + 1 else (1, "row")))


def from_parquet(content: Path | BytesIO, place: str) -> Source:
    """The rows of a Parquet file or its content. Raises InvalidInputError."""
    try:
        return Source(pl.read_parquet(content, glob=False), place, 1, "row")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInputError(f"{place} cannot be read: {error}") from error


def _from_arrow(table: pa.Table) -> pl.DataFrame:
    """The table in polars; decimals wider than polars has, or scaled up, come as their exact text."""
    try:
        for index, field in enumerate(table.schema):
            if pa.types.is_decimal256(field.type) or (
                pa.types.is_decimal(field.type) and field.type.scale < 0
            ):
                wide = pa.decimal256(76, max(field.type.scale, 0))
                table = table.set_column(
                    index, field.name, table.column(index).cast(wide).cast(pa.string())
                )
        return pl.DataFrame(pl.from_arrow(table))
    except (pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise InvalidInputError(f"the table cannot be read: {error}") from error


def parse_columns(
    source: Source, columns: tuple[Column, ...]
) -> tuple[pl.DataFrame, list[Problem]]:
    """The columns in their types, bad cells null, and everything that is wrong with them."""
    problems: list[Problem] = []
    frame = source.frame
    known = {column.name for column in columns}
    unknown = f"unknown column: {', '.join(column.name for column in columns)} are expected"
    problems += [
        Problem(ProblemKind.UNKNOWN_COLUMN, name, len(frame), unknown)
        for name in frame.columns
        if name not in known
    ]
    series: list[pl.Series] = []
    for column in columns:
        if column.name not in frame.columns:
            if column.required:
                problems.append(
                    Problem(ProblemKind.MISSING_COLUMN, column.name, len(frame), "missing column")
                )
            series.append(
                pl.repeat(None, len(frame), dtype=_dtype(column), eager=True).alias(column.name)
            )
            continue
        raw = frame[column.name]
        if raw.dtype in (pl.Null, pl.Categorical, pl.Enum):
            raw = raw.cast(pl.String)
        empty = raw.is_null() | (raw.str.len_bytes() == 0 if raw.dtype == pl.String else False)
        values, found = _converted(source, column, raw, empty)
        problems += found
        if column.required:
            problems += _some(
                source.problem(ProblemKind.EMPTY, "missing value", column.name, empty)
            )
        series.append(values.alias(column.name))
    return pl.DataFrame(series), problems


def _dtype(column: Column) -> pl.DataType:
    plain: dict[str, pl.DataType] = {"text": pl.String(), "date": pl.Date(), "integer": pl.Int64()}
    return plain.get(column.kind) or pl.Decimal(38, column.places)


def _converted(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[Problem]]:
    convert = {"text": _text, "date": _date, "integer": _integer, "decimal": _decimal}[column.kind]
    return convert(source, column, raw, empty)


def _wrong_type(column: Column, raw: pl.Series) -> tuple[pl.Series, list[Problem]]:
    nothing = pl.repeat(None, len(raw), dtype=_dtype(column), eager=True)
    hint = f"wrong type {raw.dtype}: a column of {column.kind}s is expected"
    return nothing, [Problem(ProblemKind.WRONG_TYPE, column.name, len(raw), hint)]


def _text(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[Problem]]:
    if raw.dtype != pl.String:
        return _wrong_type(column, raw)
    blank = ~empty & (raw.str.strip_chars() != raw)
    control = ~blank & raw.str.contains(
        r"[\x00-\x1f\x7f]"
    )  # PostgreSQL has no NUL, and a reader sees none of them
    problems = _some(
        source.problem(ProblemKind.BLANKS, "blanks around the text", column.name, blank),
        source.problem(
            ProblemKind.CONTROL_CHARACTER, "a control character in the text", column.name, control
        ),
    )
    return _without(raw, empty | blank | control), problems


def _date(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[Problem]]:
    if raw.dtype == pl.Date:
        days, bad = raw, pl.repeat(False, len(raw), dtype=pl.Boolean, eager=True)
    elif isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone is None:
        days = raw.dt.date()
        bad = ~empty & (raw != days.cast(raw.dtype)).fill_null(False)
    elif raw.dtype == pl.String:
        shaped = raw.str.contains(r"^\d{4}-\d{2}-\d{2}$")
        days = _without(raw, ~shaped.fill_null(False)).str.to_date("%Y-%m-%d", strict=False)
        bad = ~empty & days.is_null()
    else:
        return _wrong_type(column, raw)
    outside = ~days.is_between(EARLIEST, LATEST).fill_null(True)
    problems = _some(
        source.problem(ProblemKind.NOT_A_DATE, "no date (written YYYY-MM-DD)", column.name, bad),
        source.problem(
            ProblemKind.DATE_OUT_OF_RANGE,
            f"date out of range ({EARLIEST} to {LATEST})",
            column.name,
            outside,
        ),
    )
    return _without(days, bad | outside), problems


def _integer(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[Problem]]:
    if raw.dtype.is_integer():
        raw = raw.cast(pl.String)
    if raw.dtype != pl.String:
        return _wrong_type(column, raw)
    bad = ~empty & ~raw.str.contains(r"^[+-]?[0-9]{1,9}$").fill_null(True)
    problems = _some(
        source.problem(
            ProblemKind.NOT_A_NUMBER, "no whole number of up to 9 digits", column.name, bad
        )
    )
    return _without(raw, empty | bad).cast(pl.Int64), problems


def _decimal(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[Problem]]:
    problems: list[Problem] = []
    if raw.dtype.is_float():
        infinite = ~empty & ~raw.is_finite().fill_null(True)
        problems += _some(
            source.problem(
                ProblemKind.NOT_A_NUMBER, "not a number (NaN or infinite)", column.name, infinite
            )
        )
        text = _printed(_without(raw, infinite))
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
    text = _without(text, empty | bad)
    long = text.str.extract(r"\.([0-9]+)$").str.strip_chars_end("0").str.len_bytes() > column.places
    large = text.str.extract(r"^[+-]?0*([0-9]*)").str.len_bytes() > column.digits
    problems += _some(
        source.problem(ProblemKind.NOT_A_NUMBER, "not a number", column.name, bad),
        source.problem(
            ProblemKind.TOO_MANY_PLACES,
            f"more than {column.places} decimal places: round it before loading",
            column.name,
            long,
        ),
        source.problem(
            ProblemKind.TOO_LARGE,
            f"more than {column.digits} digits before the point",
            column.name,
            large,
        ),
    )
    fits = _without(text, (long | large).fill_null(False))
    return fits.cast(pl.Decimal(38, column.places)), problems


def _printed(numbers: pl.Series) -> pl.Series:
    """Floats as the shortest decimals that read back the same; the few that print with an exponent are written out."""
    text = numbers.cast(pl.String)
    scientific = text.str.contains("[eE]").fill_null(False)
    if not scientific.any():
        return text
    distinct = text.filter(scientific).unique()
    written = pl.Series([f"{Decimal(value):f}" for value in distinct], dtype=pl.String)
    return text.replace(distinct, written)


def _without(values: pl.Series, bad: pl.Series) -> pl.Series:
    """The values, null where `bad`."""
    if not bad.any():
        return values
    return values.zip_with(
        ~bad.fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True)
    )


def _some(*problems: Problem | None) -> list[Problem]:
    return [problem for problem in problems if problem is not None]
