"""Read files, frames and tables in batches, so that an input of any size takes little memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from revalue.engine.correct.inputs.csv_blocks import CsvBlocks, Readable
from revalue.engine.correct.inputs.csv_table import (
    UNREADABLE,
    CsvTable,
    require_table,
)
from revalue.engine.correct.inputs.file_types import HEAD_BYTES, require_csv, require_parquet
from revalue.engine.correct.inputs.limits import Limits
from revalue.engine.correct.inputs.unpacked import Unpacked
from revalue.engine.errors import InvalidInputError, UsageError

BATCH_ROWS = 100_000
BLOCK_BYTES = 4 << 20
"""How much of a CSV file is parsed at a time: about as many rows."""

_HEAD_BYTES = 4 << 20


class Numbering(NamedTuple):
    """How messages name the rows of an input.

    Attributes:
        first_line: the number of the first row.
        unit: what a row is called: "line" or "row".
    """

    first_line: int
    unit: str


class Source(ABC):
    """An input that can be read in batches. It is not validated.

    Attributes:
        place: where it comes from, for messages.
        columns: the names of its columns.
        size: how large it is, in bytes or rows.
        is_file: whether it is a file.
    """

    place: str
    columns: list[str]
    size: int
    is_file = False

    @abstractmethod
    def batches(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """Read the input from its beginning. An input without rows has one batch without rows.

        Yields:
            Rows, and how much of `size` has been read with them.

        Raises:
            InvalidInputError: it cannot be read.
        """

    @abstractmethod
    def numbering(self) -> Numbering:
        """Return how messages name rows; it is known when all batches were read."""


class FrameSource(Source):
    """Rows that are in memory."""

    def __init__(self, frame: pl.DataFrame, place: str, numbering: Numbering | None = None) -> None:
        self.frame = frame
        self.place = place
        self.columns = frame.columns
        self.size = len(frame)
        self._numbering = numbering or Numbering(1, "row")

    def batches(self) -> Iterator[tuple[pl.DataFrame, int]]:
        for begin in range(0, max(1, self.size), BATCH_ROWS):
            batch = self.frame.slice(begin, BATCH_ROWS)
            yield batch, begin + len(batch)

    def numbering(self) -> Numbering:
        return self._numbering


class TableSource(Source):
    """An Arrow table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.place = "the table"
        self.columns = table.column_names
        self.size = table.num_rows
        from_arrow(table.slice(0, 1), "the table")  # what cannot be read is told at once

    def batches(self) -> Iterator[tuple[pl.DataFrame, int]]:
        for begin in range(0, max(1, self.size), BATCH_ROWS):
            batch = from_arrow(self._table.slice(begin, BATCH_ROWS), self.place)
            yield batch, begin + len(batch)

    def numbering(self) -> Numbering:
        return Numbering(1, "row")


class ParquetSource(Source):
    """A Parquet file; its row groups may be of any size."""

    is_file = True

    def __init__(self, path: Path, place: str | None = None) -> None:
        self._path = path
        self.place = place or str(path)
        try:
            with path.open("rb") as content:
                require_parquet(content.read(HEAD_BYTES), self.place)
        except OSError as error:
            raise _unreadable(self.place, error) from error
        with self._open() as file:
            self.columns = file.schema_arrow.names
            self.size = file.metadata.num_rows

    def batches(self) -> Iterator[tuple[pl.DataFrame, int]]:
        read = 0
        with self._open() as file:
            empty = file.schema_arrow.empty_table()
            batches = file.iter_batches(BATCH_ROWS)
            while True:
                try:
                    table = pa.Table.from_batches([next(batches)])
                except StopIteration:
                    break
                except (pa.ArrowException, OSError) as error:
                    raise _unreadable(self.place, error) from error
                read += table.num_rows
                yield from_arrow(table, self.place), read
        if not read:
            yield from_arrow(empty, self.place), 0

    def numbering(self) -> Numbering:
        return Numbering(1, "row")

    def _open(self) -> pq.ParquetFile:
        try:
            # Buffered: a column of a row group is not read as a whole.
            return pq.ParquetFile(self._path, buffer_size=1 << 20, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.place, error) from error


class CsvSource(Source):
    """A CSV file, as it is or packed by gzip; every column is text."""

    is_file = True

    def __init__(self, path: Path, place: str | None = None) -> None:
        self._path = path
        self.place = place or str(path)
        self._is_packed = path.suffix.lower() == ".gz"
        self._lines = self._rows = 0
        try:
            self.size = path.stat().st_size
            with path.open("rb") as file:
                head = self._unpacked(file).read(_HEAD_BYTES)
            advice = f"If it is a CSV file that gzip has packed, name it {path.name}.gz"
            require_table(head, self.place, "gzip" if self._is_packed else "", advice)
            with path.open("rb") as file:
                blocks = CsvBlocks(self._unpacked(file), BLOCK_BYTES, self.place)
                next(iter(blocks), None)
        except OSError as error:
            raise _unreadable(self.place, error) from error
        self.columns = CsvTable(blocks.header, blocks.header_line, self.place).columns

    def batches(self) -> Iterator[tuple[pl.DataFrame, int]]:
        self._rows = 0
        try:
            with self._path.open("rb") as file:
                blocks = CsvBlocks(self._unpacked(file), BLOCK_BYTES, self.place)
                for batch in _parsed(blocks, self.place):
                    self._rows += len(batch)
                    yield batch, file.tell()
                self._lines = blocks.lines
        except OSError as error:
            raise _unreadable(self.place, error) from error

    def numbering(self) -> Numbering:
        return _csv_numbering(self._lines, self._rows)

    def _unpacked(self, file: BinaryIO) -> Readable:
        return Unpacked(file, self.size, self.place) if self._is_packed else file


def _parsed(blocks: CsvBlocks, place: str) -> Iterator[pl.DataFrame]:
    """Parse a file; the first frame has no rows if the file has none."""
    table: CsvTable | None = None
    for block in blocks:
        table = table or CsvTable(blocks.header, blocks.header_line, place)
        yield table.parse(block)
    if table is None:
        CsvTable(b"", 1, place)


Input: TypeAlias = Path | str | pl.DataFrame | pa.Table | Source
"""What can be loaded: a file name, a polars frame, an Arrow table, or what `read` returned."""


def read(source: Input) -> Source:
    """Open a Parquet or CSV file (by its suffix), or take a frame or table.

    Raises:
        InvalidInputError: it cannot be read.
        UsageError: it is something else.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, pl.DataFrame):
        return FrameSource(source, "the frame")
    if isinstance(source, pa.Table):
        return TableSource(source)
    if not isinstance(source, str | Path):
        raise UsageError(
            f"the input is a {type(source).__name__}: give the name of a file, a polars frame "
            "(polars.from_pandas makes one of a pandas frame) or an Arrow table"
        )
    path = Path(source)
    if not path.is_file():
        raise InvalidInputError(
            f"{path} is a folder, not a file" if path.is_dir() else f"there is no file {path}"
        )
    name = path.name.lower()
    if name.endswith(".parquet"):
        return ParquetSource(path)
    if name.endswith((".csv", ".csv.gz")):
        return CsvSource(path)
    raise InvalidInputError(
        f"{path}: the suffix {path.suffix!r} is unknown: give a .parquet, .csv or .csv.gz file"
    )


def from_csv(content: bytes, place: str, *, limits: Limits | None = None) -> FrameSource:
    """Read the content of a CSV file; every column is text.

    Args:
        content: all of it.
        place: where it came from, for messages.
        limits: how large it may be; None: as large as it is.

    Raises:
        InvalidInputError: it is not CSV, compressed, or larger than the limits.
    """
    require_csv(content, place)
    if limits is not None:
        limits.require_csv(content, place)
    require_table(content, place)
    blocks = CsvBlocks(BytesIO(content), max(1, len(content)), place)
    frame = pl.concat(_parsed(blocks, place))
    return FrameSource(frame, place, _csv_numbering(blocks.lines, len(frame)))


def from_parquet(content: BytesIO, place: str, *, limits: Limits | None = None) -> FrameSource:
    """Read the content of a Parquet file.

    Args:
        content: all of it.
        place: where it came from, for messages.
        limits: how large it may be; None: as large as it is.

    Raises:
        InvalidInputError: it is not Parquet, or larger than the limits.
    """
    require_parquet(content.read(HEAD_BYTES), place)
    content.seek(0)
    if limits is not None:
        limits.require_parquet(content, place)
    try:
        if any(map(_is_wide, pq.read_schema(content))):
            return FrameSource(from_arrow(pq.read_table(content), place), place)
        content.seek(0)
        return FrameSource(pl.read_parquet(content, glob=False), place)
    except (*UNREADABLE, pa.ArrowException, OSError) as error:
        raise _unreadable(place, error) from error


def from_arrow(table: pa.Table, place: str) -> pl.DataFrame:
    """Return the table in polars; decimals that polars does not have become their exact text.

    Raises:
        InvalidInputError: it cannot be read.
    """
    try:
        for index, field in enumerate(table.schema):
            if _is_wide(field):
                wide = pa.decimal256(76, max(field.type.scale, 0))
                table = table.set_column(
                    index, field.name, table.column(index).cast(wide).cast(pa.string())
                )
        return pl.DataFrame(pl.from_arrow(table))
    except (*UNREADABLE, pa.ArrowException) as error:
        raise _unreadable(place, error) from error


def _is_wide(field: pa.Field) -> bool:
    """Return whether a column has decimals that polars does not have."""
    of_type = field.type
    return bool(
        pa.types.is_decimal256(of_type) or (pa.types.is_decimal(of_type) and of_type.scale < 0)
    )


def _csv_numbering(lines: int, rows: int) -> Numbering:
    # A quoted line break or an empty line makes later line numbers wrong: then count rows.
    return Numbering(2, "line") if lines == rows + 1 else Numbering(1, "row")


def _unreadable(place: str, error: BaseException) -> InvalidInputError:
    return InvalidInputError(f"{place} cannot be read: {error}")
