"""Read a file or a frame into typed columns. Every value that does not fit is reported; no value is
rounded or guessed.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from revalue.engine.errors import InvalidInputError

EARLIEST, LATEST = date(1900, 1, 1), date(2200, 12, 31)
MAX_ID_CHARACTERS = 200
"""How long an id or another text of an input may be. The API takes as much, and an index entry of
PostgreSQL holds two of them."""

_SHOWN_ROWS = 5
_MOST_COLUMNS = 1_000  # polars takes gigabytes for millions of them
_EPOCH = date(1970, 1, 1)
_TICKS_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"


class ProblemKind(StrEnum):
    """Which rule an input breaks, for programs; the hint of a problem says it to people."""

    MISSING_COLUMN = "missing_column"
    UNKNOWN_COLUMN = "unknown_column"
    WRONG_TYPE = "wrong_type"
    EMPTY = "empty"
    BLANKS = "blanks"
    CONTROL_CHARACTER = "control_character"
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
class Column:
    """A column of an input.

    Attributes:
        name: its name.
        kind: text, date, integer or decimal.
        digits: digits of a decimal before the point, at most.
        places: digits of a decimal after the point, at most.
        required: a column that is not required may be absent, and its values may be null.
    """

    name: str
    kind: str
    digits: int = 18
    places: int = 10
    required: bool = True

    @property
    def sql_type(self) -> str:
        """The PostgreSQL type of the column in the temporary table `incoming`."""
        return {"text": "text", "date": "date", "integer": "bigint"}.get(self.kind, "numeric")


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


@dataclass(frozen=True)
class Source:
    """An input as it was read, not validated yet.

    Attributes:
        frame: its rows.
        place: where it came from, for messages.
        first_line: the number of the first row in messages.
        unit: what a message calls a row: "line" or "row".
    """

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
    ) -> InputProblem | None:
        """Return the problem of the rows where `bad` is true, or None if there are none."""
        index = bad.fill_null(False).arg_true()
        if index.is_empty():
            return None
        shown = index[:_SHOWN_ROWS]
        cells = (values if values is not None else self.frame[column]).gather(shown)
        rows = tuple(
            (int(i) + self.first_line, text) for i, text in zip(shown, _texts(cells), strict=True)
        )
        return InputProblem(kind, column, len(index), hint, rows)


@dataclass(frozen=True)
class Limits:
    """How large a file from somebody else may be when it is unpacked.

    A Parquet file of a few kilobytes can hold billions of equal rows, or one cell of a gigabyte.

    Attributes:
        rows: number of rows, at most; of values in a column too, which is more if it has lists.
        columns: number of columns, at most.
        cells: number of rows times columns, at most.
        uncompressed_bytes: size of the columns of a Parquet file before compression, at most.
    """

    rows: int
    columns: int
    cells: int
    uncompressed_bytes: int

    def require_parquet(self, content: BytesIO, place: str) -> None:
        """Check a Parquet file by what its footer says.

        Raises:
            InvalidInputError: it is too large, or no Parquet.
        """
        try:
            footer = pq.read_metadata(content)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(f"{place} cannot be read: {error}") from error
        content.seek(0)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        rows = sum(group.num_rows for group in groups)
        self._require(place, "rows", rows, self.rows)
        self._require_shape(place, rows, footer.num_columns)
        chunks = [
            [group.column(number) for group in groups] for number in range(footer.num_columns)
        ]
        values = max((sum(chunk.num_values for chunk in each) for each in chunks), default=0)
        self._require(place, "values in a column", values, self.rows)
        size = sum(chunk.total_uncompressed_size for each in chunks for chunk in each)
        self._require(place, "bytes uncompressed", size, self.uncompressed_bytes)

    def require_csv(self, content: bytes, place: str) -> None:
        """Check the content of a CSV file.

        Raises:
            InvalidInputError: it is too large.
        """
        self._require(place, "lines", content.count(b"\n"), self.rows + 1)
        lines = content.split(b"\n")
        # Of all lines: a quoted line break can be in the header.
        self._require_shape(place, len(lines), max(line.count(b",") for line in lines) + 1)

    def _require_shape(self, place: str, rows: int, columns: int) -> None:
        self._require(place, "columns", columns, self.columns)
        self._require(place, "cells", rows * columns, self.cells)

    def _require(self, place: str, what: str, found: int, most: int) -> None:
        if found > most:
            raise InvalidInputError(
                f"{place} is too large: {found:,} {what}, of {most:,} at most. Send it in parts"
            )


_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises of an input. A panic of its Rust code is a BaseException, no Exception."""

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
"""How gzip, zstd and zlib begin: polars would unpack them unasked, however much it is."""

Input: TypeAlias = Path | str | pl.DataFrame | pa.Table | Source
"""What can be loaded: a file name, a polars frame, an Arrow table, or what `read` returned."""


def read(source: Input) -> Source:
    """Read a Parquet or CSV file (by its suffix), or take a frame or table.

    Raises:
        InvalidInputError: it cannot be read.
    """
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
            f"{path}: the suffix {path.suffix!r} is unknown: give a .parquet or .csv file"
        )
    try:
        return from_csv(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error


def from_csv(content: bytes, place: str, *, limits: Limits | None = None) -> Source:
    """Read the content of a CSV file; every column is text.

    Raises:
        InvalidInputError: it is not CSV, compressed, or larger than the limits.
    """
    if content.startswith(_COMPRESSED):
        raise InvalidInputError(f"{place} cannot be read: it is compressed, and not CSV")
    if limits is not None:
        limits.require_csv(content, place)
    columns = content.count(b",", 0, content.find(b"\n")) + 1
    if columns > _MOST_COLUMNS:
        raise InvalidInputError(f"{place} cannot be read: {columns:,} columns are no table")
    try:
        frame = pl.read_csv(content, infer_schema=False)
    except _UNREADABLE as error:
        raise InvalidInputError(f"{place} cannot be read: {error}") from error
    # A quoted line break or an empty line makes later line numbers wrong: then count rows.
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    return Source(frame, place, *((2, "line") if lines == len(frame) + 1 else (1, "row")))


def from_parquet(content: Path | BytesIO, place: str, *, limits: Limits | None = None) -> Source:
    """Read a Parquet file or its content.

    Args:
        content: a file; with limits, its content.
        place: where it came from, for messages.
        limits: how large it may be; None: as large as it is.

    Raises:
        InvalidInputError: it is not Parquet, or larger than the limits.
    """
    if limits is not None and isinstance(content, BytesIO):
        limits.require_parquet(content, place)
    try:
        return Source(pl.read_parquet(content, glob=False), place, 1, "row")
    except (*_UNREADABLE, OSError) as error:
        raise InvalidInputError(f"{place} cannot be read: {error}") from error


def _from_arrow(table: pa.Table) -> pl.DataFrame:
    """Return the table in polars; decimals that polars does not have become their exact text."""
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
    except (*_UNREADABLE, pa.ArrowException) as error:
        raise InvalidInputError(f"the table cannot be read: {error}") from error


def parse_columns(
    source: Source, columns: tuple[Column, ...]
) -> tuple[pl.DataFrame, list[InputProblem]]:
    """Parse an input into typed columns.

    Returns:
        The columns, with null for each cell that breaks a rule or is empty, and the broken rules.
    """
    problems: list[InputProblem] = []
    frame = source.frame
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
        values, found = _converted(source, column, raw, empty)
        problems += found
        if column.required:
            problems += _found(
                source.problem(ProblemKind.EMPTY, "missing value", column.name, empty)
            )
        series.append(values.alias(column.name))
    return pl.DataFrame(series), problems


def _dtype(column: Column) -> pl.DataType:
    types: dict[str, pl.DataType] = {"text": pl.String(), "date": pl.Date(), "integer": pl.Int64()}
    return types.get(column.kind) or pl.Decimal(38, column.places)


def _converted(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    convert = {"text": _text, "date": _date, "integer": _integer, "decimal": _decimal}[column.kind]
    return convert(source, column, raw, empty)


def _wrong_type(column: Column, raw: pl.Series) -> tuple[pl.Series, list[InputProblem]]:
    nothing = pl.repeat(None, len(raw), dtype=_dtype(column), eager=True)
    hint = f"wrong type {raw.dtype}: a column of {column.kind}s is expected"
    return nothing, [InputProblem(ProblemKind.WRONG_TYPE, column.name, len(raw), hint)]


def _text(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    if raw.dtype != pl.String:
        return _wrong_type(column, raw)
    blank = ~empty & (raw.str.strip_chars() != raw)
    # PostgreSQL cannot store NUL, and a reader cannot see the others.
    dots = raw.is_in([".", ".."])
    control = ~blank & raw.str.contains(r"[\x00-\x1f\x7f]")
    long = raw.str.len_chars() > MAX_ID_CHARACTERS
    problems = _found(
        source.problem(ProblemKind.BLANKS, "blanks around the text", column.name, blank),
        source.problem(
            ProblemKind.CONTROL_CHARACTER, "a control character in the text", column.name, control
        ),
        source.problem(
            ProblemKind.DOTS, "no id: browsers take it out of an address", column.name, dots
        ),
        source.problem(
            ProblemKind.TOO_LONG, f"more than {MAX_ID_CHARACTERS} characters", column.name, long
        ),
    )
    return _without(raw, empty | blank | dots | control | long), problems


def _date(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    # As numbers of days: polars panics when it converts a date far outside of Python's years.
    if raw.dtype == pl.String:
        shaped = raw.str.contains(r"^\d{4}-\d{2}-\d{2}$")
        days = _without(raw, ~shaped.fill_null(False)).str.to_date("%Y-%m-%d", strict=False)
        numbers = days.to_physical().cast(pl.Int64)
        bad = ~empty & days.is_null()
    elif raw.dtype == pl.Date or (isinstance(raw.dtype, pl.Datetime) and not raw.dtype.time_zone):
        numbers = _day_numbers(raw)
        bad = _is_within_a_day(raw)
    else:
        return _wrong_type(column, raw)
    outside = ~numbers.is_between(_day_number(EARLIEST), _day_number(LATEST)).fill_null(True)
    problems = _found(
        source.problem(ProblemKind.NOT_A_DATE, "no date (written YYYY-MM-DD)", column.name, bad),
        source.problem(
            ProblemKind.DATE_OUT_OF_RANGE,
            f"date out of range ({EARLIEST} to {LATEST})",
            column.name,
            outside,
        ),
    )
    return _without(numbers, bad | outside).cast(pl.Int32).cast(pl.Date), problems


def _day_number(day: date) -> int:
    return (day - _EPOCH).days


def _ticks_per_day(dtype: pl.DataType) -> int:
    return _TICKS_PER_DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1


def _day_numbers(days: pl.Series) -> pl.Series:
    """Return dates or times as days since 1970-01-01."""
    return days.to_physical().cast(pl.Int64) // _ticks_per_day(days.dtype)


def _is_within_a_day(days: pl.Series) -> pl.Series:
    """Return whether a time is not midnight."""
    return (days.to_physical().cast(pl.Int64) % _ticks_per_day(days.dtype) != 0).fill_null(False)


def _texts(cells: pl.Series) -> list[str]:
    """Return cells as a message shows them; a date outside of Python's years as a number."""
    if cells.dtype not in (pl.Date, pl.Datetime):
        return ["" if cell is None else str(cell) for cell in cells]
    texts = []
    for place, number in enumerate(_day_numbers(cells)):
        if number is None:
            texts.append("")
        elif _day_number(date.min) <= number <= _day_number(date.max):
            texts.append(str(cells[place]))
        else:
            texts.append(f"{number:,} days after {_EPOCH}")
    return texts


def _integer(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    if raw.dtype.is_integer():
        raw = raw.cast(pl.String)
    if raw.dtype != pl.String:
        return _wrong_type(column, raw)
    bad = ~empty & ~raw.str.contains(r"^[+-]?[0-9]{1,9}$").fill_null(True)
    problems = _found(
        source.problem(
            ProblemKind.NOT_A_NUMBER, "no whole number of up to 9 digits", column.name, bad
        )
    )
    return _without(raw, empty | bad).cast(pl.Int64), problems


def _decimal(
    source: Source, column: Column, raw: pl.Series, empty: pl.Series
) -> tuple[pl.Series, list[InputProblem]]:
    problems: list[InputProblem] = []
    if raw.dtype.is_float():
        infinite = ~empty & ~raw.is_finite().fill_null(True)
        problems += _found(
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
    problems += _found(
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
    """Return floats as the shortest decimals that read back as the same; without exponents."""
    text = numbers.cast(pl.String)
    scientific = text.str.contains("[eE]").fill_null(False)
    if not scientific.any():
        return text
    distinct = text.filter(scientific).unique()
    written = pl.Series([f"{Decimal(value):f}" for value in distinct], dtype=pl.String)
    return text.replace(distinct, written)


def _without(values: pl.Series, bad: pl.Series) -> pl.Series:
    """Return the values, null where `bad`."""
    if not bad.any():
        return values
    return values.zip_with(
        ~bad.fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True)
    )


def _found(*problems: InputProblem | None) -> list[InputProblem]:
    return [problem for problem in problems if problem is not None]
