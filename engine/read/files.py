"""Write frames into a file, one after the other: the file is there when all of them are in it."""

import os
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TypeAlias

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from revalue.engine.errors import UsageError
from revalue.engine.read.excel import excel_writer

Columns: TypeAlias = Mapping[str, pl.DataType | type[pl.DataType]]

_Write: TypeAlias = Callable[[pl.DataFrame], None]
_Open: TypeAlias = Callable[[IO[bytes], Columns], AbstractContextManager[_Write]]


def require_format(target: Path) -> None:
    """Refuse a file whose ending is none of FORMATS.

    Raises:
        UsageError: there is no such format.
    """
    if target.suffix.lower() not in _WRITERS:
        raise UsageError(
            f"{target}: the ending of a file says its format, and has to be one of "
            f"{', '.join(_WRITERS)}"
        )


async def write_file(
    target: Path, columns: Columns, frames: AsyncGenerator[pl.DataFrame, None]
) -> int:
    """Write frames into a .csv, .parquet, .arrow or .xlsx file, which replaces one of that name.

    One frame at a time is in memory. Decimals stay exact, text in CSV and decimal128 in Parquet and
    Arrow; but Excel keeps 15 digits.

    Args:
        target: the name of the file; its ending says the format.
        columns: those of each frame, in their order.
        frames: if it raises an error, no file is made, and an older one stays.

    Returns:
        The number of rows.

    Raises:
        UsageError: there is no such format, the file cannot be written, or it is an .xlsx file
            and holds no more rows or xlsxwriter is not installed.
    """
    require_format(target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    rows = 0
    try:
        with part.open("xb") as file, _WRITERS[target.suffix.lower()](file, columns) as write:
            async for frame in frames:
                write(frame)
                rows += len(frame)
        part.rename(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return rows


@contextmanager
def csv_writer(file: IO[bytes], columns: Columns) -> Iterator[_Write]:
    """Write CSV, with a header even if there is no frame; nothing before the first frame."""
    header = pl.DataFrame(schema=dict(columns)).write_csv().encode()
    is_begun = False

    def write(frame: pl.DataFrame) -> None:
        nonlocal is_begun
        if not is_begun:
            file.write(header)
            is_begun = True
        # By Python, which tells a broken pipe from other errors.
        file.write(frame.write_csv(include_header=False).encode())

    yield write
    if not is_begun:
        file.write(header)


@contextmanager
def parquet_writer(file: IO[bytes], columns: Columns) -> Iterator[_Write]:
    """Write Parquet; decimals are decimal128."""
    with parquet.ParquetWriter(file, _schema(columns), compression="zstd") as writer:
        yield lambda frame: writer.write_table(_arrow(frame))


@contextmanager
def arrow_stream_writer(file: IO[bytes], columns: Columns) -> Iterator[_Write]:
    """Write an Arrow stream, which a reader can begin with before it ends."""
    with pa.ipc.new_stream(file, _schema(columns)) as writer:
        yield lambda frame: writer.write_table(_arrow(frame))


@contextmanager
def _arrow_writer(file: IO[bytes], columns: Columns) -> Iterator[_Write]:
    with pa.ipc.new_file(file, _schema(columns)) as writer:
        yield lambda frame: writer.write_table(_arrow(frame))


_WRITERS: dict[str, _Open] = {
    ".csv": csv_writer,
    ".parquet": parquet_writer,
    ".arrow": _arrow_writer,
    ".xlsx": excel_writer,
}

FORMATS = tuple(_WRITERS)
"""The endings of the files that can be written."""


def _schema(columns: Columns) -> pa.Schema:
    return _arrow(pl.DataFrame(schema=dict(columns))).schema


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
