"""The file that a command loads: by its suffix, by --format, or what comes through a pipe."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, BinaryIO, Literal, TypeAlias

import typer

from revalue.console.cli.output import err
from revalue.engine.correct.inputs.sources import CsvSource, ParquetSource, Source, read
from revalue.engine.errors import UsageError

FileFormat: TypeAlias = Literal["csv", "parquet"]

Format = Annotated[
    FileFormat | None,
    typer.Option(
        "--format",
        help="What FILE is, whatever its name. Without it the suffix says so: .parquet, .csv or "
        ".csv.gz. Of .txt, .txt.gz and - the content says so.",
    ),
]

FILE_HELP = "Parquet or CSV (see --format); - reads standard input. It may be a pipe."

_PLACE = "standard input"
_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"


@contextmanager
def opened(file: Path, given: FileFormat | None) -> Iterator[Source]:
    """Open a file for the time of the block. A pipe is read up to its end before.

    Args:
        file: its name; `-`: standard input.
        given: what it is. None: as its suffix says, or its content.

    Raises:
        InvalidInputError: it cannot be read.
        UsageError: what comes through a pipe cannot be kept.
    """
    is_standard_input = str(file) == "-"
    if not is_standard_input and not file.is_fifo():
        yield _opened(file, given)
        return
    place = _PLACE if is_standard_input else str(file)
    with TemporaryDirectory(prefix="revalue-input-") as folder:
        with _standard_input() if is_standard_input else file.open("rb") as pipe:
            copy = _copied(pipe, Path(folder), place)
        yield _opened(copy, given, place)


def _opened(path: Path, given: FileFormat | None, place: str | None = None) -> Source:
    is_text = path.name.lower().endswith((".txt", ".txt.gz"))
    if not path.is_file() or not (given or is_text or place):
        return read(path)
    if (given or _found(path)) == "parquet":
        return ParquetSource(path, place)
    return CsvSource(path, place)


def _found(path: Path) -> FileFormat:
    """Return what the content is: Parquet says so itself, and CSV has to name its columns."""
    with path.open("rb") as file:
        return "parquet" if file.read(len(_PARQUET)) == _PARQUET else "csv"


@contextmanager
def _standard_input() -> Iterator[BinaryIO]:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("there is no standard input: give the name of a file")
    if sys.stdin.isatty():
        err.print("reading standard input up to its end (Ctrl-D)")
    yield sys.stdin.buffer


def _copied(pipe: BinaryIO, folder: Path, place: str) -> Path:
    """Copy a pipe to a file: an input is read more than once, and from its beginning."""
    path = folder / "input"
    try:
        with path.open("wb") as copy:
            shutil.copyfileobj(pipe, copy)
        with path.open("rb") as file:
            is_packed = file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise UsageError(
            f"{place} cannot be kept in {folder}: {error.strerror}. TMPDIR names another place for "
            "it"
        ) from error
    return path.rename(path.with_suffix(".gz")) if is_packed else path
