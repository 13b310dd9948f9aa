"""From a file or a frame to typed columns: every value that does not fit is found, none is rounded or guessed."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa

from engine.errors import InvalidInputError

EARLIEST, LATEST = date(1900, 1, 1), date(2200, 12, 31)
_SHOWN_ROWS = 5
_NUMBER = r"^[+-]?\d+(\.\d+)?$"


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

    what: str
    column: str
    count: int
    rows: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Source:
    """An input as read: `place` says where it came from; rows are named by line in a file that has lines."""

    frame: pl.DataFrame
    place: str
    first_line: int
    unit: str

    def problem(self, what: str, column: str, bad: pl.Series, values: pl.Series | None = None) -> Problem | None:
        """The problem of the rows where `bad` is true; None when there are none."""
        index = bad.fill_null(False).arg_true()
        if index.is_empty():
            return None
        shown = index[:_SHOWN_ROWS]
        cells = (values if values is not None else self.frame[column]).gather(shown)
        rows = tuple((int(i) + self.first_line, str(v)) for i, v in zip(shown, cells, strict=True))
        return Problem(what, column, len(index), rows)


def read(source: Path | str | pl.DataFrame | pa.Table) -> Source:
    """Reads Parquet or CSV (by suffix) or takes a frame. Raises InvalidInputError when it cannot be read at all."""
    if isinstance(source, pl.DataFrame):
        return Source(source, "the frame", 1, "row")
    if isinstance(source, pa.Table):
        return Source(pl.DataFrame(pl.from_arrow(source)), "the table", 1, "row")
    path = Path(source)
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    try:
        if path.suffix.lower() == ".parquet":
            return Source(pl.read_parquet(path), str(path), 1, "row")
        if path.suffix.lower() == ".csv":
            frame = pl.read_csv(path, infer_schema=False)
            # A quoted line break would make every later line number wrong: then rows are counted, not lines.
            broken = any(frame[name].str.contains("\n", literal=True).any() for name in frame.columns)
            return Source(frame, str(path), *((1, "row") if broken else (2, "line")))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    raise InvalidInputError(f"{path}: the suffix {path.suffix!r} is not known: .parquet and .csv are")


def typed(source: Source, columns: tuple[Column, ...]) -> tuple[pl.DataFrame, list[Problem]]:
    """The columns in their types, bad cells null, and everything that is wrong with them."""
    problems: list[Problem] = []
    frame = source.frame
    known = {column.name for column in columns}
    problems += [Problem("unknown column", name, len(frame)) for name in frame.columns if name not in known]
    series: list[pl.Series] = []
    for column in columns:
        if column.name not in frame.columns:
            if column.required:
                problems.append(Problem("missing column", column.name, len(frame)))
            series.append(pl.repeat(None, len(frame), dtype=_dtype(column), eager=True).alias(column.name))
            continue
        raw = frame[column.name]
        empty = raw.is_null() | (raw.str.len_bytes() == 0 if raw.dtype == pl.String else False)
        values, found = _converted(source, column, raw, empty)
        problems += found
        if column.required:
            problems += _some(source.problem("missing value", column.name, empty))
        series.append(values.alias(column.name))
    return pl.DataFrame(series), problems


def _dtype(column: Column) -> pl.DataType:
    plain: dict[str, pl.DataType] = {"text": pl.String(), "date": pl.Date(), "integer": pl.Int64()}
    return plain.get(column.kind) or pl.Decimal(38, column.places)


def _converted(source: Source, column: Column, raw: pl.Series, empty: pl.Series) -> tuple[pl.Series, list[Problem]]:
    convert = {"text": _text, "date": _date, "integer": _integer, "decimal": _decimal}[column.kind]
    return convert(source, column, raw, empty)


def _wrong_type(column: Column, raw: pl.Series) -> tuple[pl.Series, list[Problem]]:
    nothing = pl.repeat(None, len(raw), dtype=_dtype(column), eager=True)
    return nothing, [Problem(f"wrong type {raw.dtype}: a column of {column.kind}s is expected", column.name, len(raw))]


def _text(source: Source, column: Column, raw: pl.Series, empty: pl.Series) -> tuple[pl.Series, list[Problem]]:
    if raw.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return _wrong_type(column, raw)
    text = raw.cast(pl.String)
    blank = ~empty & (text.str.strip_chars() != text)
    return _without(text, empty | blank), _some(source.problem("blanks around the text", column.name, blank))


def _date(source: Source, column: Column, raw: pl.Series, empty: pl.Series) -> tuple[pl.Series, list[Problem]]:
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
        source.problem("no date (written YYYY-MM-DD)", column.name, bad),
        source.problem(f"date out of range ({EARLIEST} to {LATEST})", column.name, outside),
    )
    return _without(days, bad | outside), problems


def _integer(source: Source, column: Column, raw: pl.Series, empty: pl.Series) -> tuple[pl.Series, list[Problem]]:
    if raw.dtype.is_integer():
        return raw.cast(pl.Int64), []
    if raw.dtype != pl.String:
        return _wrong_type(column, raw)
    bad = ~empty & ~raw.str.contains(r"^[+-]?\d{1,9}$").fill_null(True)
    return _without(raw, empty | bad).cast(pl.Int64), _some(source.problem("no whole number", column.name, bad))


def _decimal(source: Source, column: Column, raw: pl.Series, empty: pl.Series) -> tuple[pl.Series, list[Problem]]:
    problems: list[Problem] = []
    if raw.dtype.is_float():
        infinite = ~empty & ~raw.is_finite().fill_null(True)
        problems += _some(source.problem("not a number (NaN or infinite)", column.name, infinite))
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
    long = text.str.extract(r"\.(\d+)$").str.strip_chars_end("0").str.len_bytes() > column.places
    large = text.str.extract(r"^[+-]?0*(\d*)").str.len_bytes() > column.digits
    problems += _some(
        source.problem("not a number", column.name, bad),
        source.problem(f"more than {column.places} decimal places: round it before loading", column.name, long),
        source.problem(f"more than {column.digits} digits before the point", column.name, large),
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
    return values.zip_with(~bad.fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True))


def _some(*problems: Problem | None) -> list[Problem]:
    return [problem for problem in problems if problem is not None]
