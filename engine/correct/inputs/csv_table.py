"""Parse the rows of a CSV file; if they are not what is expected, say where and what to do."""

import codecs
import csv
import io
import re
import shlex
from collections import Counter
from itertools import pairwise

import polars as pl

from revalue.engine.correct.inputs.csv_blocks import Block, count_lines, last_row_end
from revalue.engine.correct.inputs.file_types import require_csv, unseen_in_text
from revalue.engine.correct.inputs.problems import SHOWN_ROWS, shown
from revalue.engine.errors import InvalidInputError

_MOST_COLUMNS = 1_000  # polars takes gigabytes for millions of them

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises of an input. A panic of its Rust code is a BaseException, no Exception."""

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
"""How gzip, zstd and zlib begin: polars would unpack them unasked, however much it is."""

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


class CsvTable:
    """The columns of a CSV file, and a parser of its rows. Every column is text.

    The columns at the end of the header that have no name (its line ends with commas) are left out.

    Attributes:
        columns: the names of the columns.
    """

    def __init__(self, header: bytes, line: int, place: str) -> None:
        """Read the header.

        Args:
            header: its row.
            line: the number of its line.
            place: where the file is, for messages.

        Raises:
            InvalidInputError: it is not the header of a table.
        """
        self._place = place
        _require_utf8(header, line, place)
        text = header.decode().rstrip("\r\n")
        if not text.strip():
            raise _unreadable(place, "it is empty, and the names of the columns are expected")
        _require_header(text, line, place)
        try:
            names = next(csv.reader(io.StringIO(text, newline="")))
        except csv.Error as error:
            raise _unreadable(place, f"line {line}: {error}") from error
        self._width = len(names)
        if self._width > _MOST_COLUMNS:
            raise _unreadable(place, f"{self._width:,} columns are no table")
        while names and not names[-1].strip():
            names.pop()
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            columns = ", ".join(map(shown, twice))
            raise _unreadable(place, f"line {line} names a column twice: {columns}")
        self.columns = names
        self._schema = {str(place): pl.String() for place in range(self._width)}

    def parse(self, block: Block) -> pl.DataFrame:
        """Parse rows.

        Raises:
            InvalidInputError: they are not rows of this table; the message names lines and values.
        """
        rows = block.rows
        frame = pl.DataFrame(schema=self._schema)
        if rows:
            _require_utf8(rows, block.first_line, self._place)
            if rows.startswith(_COMPRESSED):
                raise _unreadable(
                    self._place, f"line {block.first_line} begins as compressed data do"
                )
            try:
                frame = pl.read_csv(rows, has_header=False, schema=self._schema)
            except UNREADABLE as error:
                raise self._fault(block) from error
        named = len(self.columns)
        if not self._is_complete(rows, frame) or any(
            (column != "").any() for column in frame.get_columns()[named:]
        ):
            raise self._fault(block)
        frame = frame.select(pl.nth(range(named)))
        frame.columns = self.columns
        return frame

    def _is_complete(self, rows: bytes, frame: pl.DataFrame) -> bool:
        """Return whether each line is a row of the frame, and each of them has every column.

        polars takes a row with fewer values. It refuses one with more, so that counting the commas
        and line breaks of all rows is enough.
        """
        commas = len(frame) * (self._width - 1)
        lines = len(frame)
        if b'"' in rows:
            for column in frame:
                commas += int(column.str.count_matches(",", literal=True).sum())
                lines += int(column.str.count_matches("\n", literal=True).sum())
        return commas == rows.count(b",") and lines == count_lines(rows)

    def _fault(self, block: Block) -> InvalidInputError:
        """Return the error that names the first lines that are no rows of this table."""
        faults = self._unclosed_quote(block) or self._wrong_rows(block)
        if not faults:
            last_line = block.first_line + count_lines(block.rows) - 1
            faults = [
                f"from line {block.first_line} to line {last_line} quotes are not as in CSV: a "
                "cell with a quote is quoted as a whole, and the quote in it is written twice"
            ]
        return InvalidInputError("\n  ".join([f"{self._place} cannot be read", *faults]))

    def _unclosed_quote(self, block: Block) -> list[str]:
        if block.rows.count(b'"') % 2 == 0:
            return []
        begin = last_row_end(block.rows)
        line = block.first_line + block.rows.count(b"\n", 0, begin)
        text = block.rows[begin:].partition(b"\n")[0].decode()
        return [f"line {line}: a quote is opened and not closed: {shown(text)}"]

    def _wrong_rows(self, block: Block) -> list[str]:
        faults: list[str] = []
        last_line = block.first_line + count_lines(block.rows) - 1
        # Lines end with LF only, as for polars: not with CR, or another line break of Unicode.
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(block.rows), "utf-8", newline="\n"))
        while len(faults) < SHOWN_ROWS:
            line = block.first_line + reader.line_num
            try:
                row = next(reader, None)
            except csv.Error as error:
                faults.append(f"line {line}: {error}")
                break
            if row is None:
                break
            is_cut = line == last_line and not block.rows.endswith(b"\n")
            if said := self._wrong(row, is_cut=is_cut):
                faults.append(f"line {line}: {said}")
        return faults

    def _wrong(self, row: list[str], *, is_cut: bool) -> str | None:
        """Say what is wrong with a row; None: nothing is.

        Args:
            row: its values.
            is_cut: whether the file ends with this row, without a line break.
        """
        if not row:
            return "it is blank, and rows follow"
        if len(row) == self._width:
            more = [value for value in row[len(self.columns) :] if value]
            return f"a value in a column without a name: {shown(more[0])}" if more else None
        values = "1 value" if len(row) == 1 else f"{len(row)} values"
        said = f"{values}, and the header has {self._width}: {shown(','.join(row))}"
        if row[0].startswith("#"):
            return f"{said}. Lines of comments have to be taken out"
        if len(row) > self._width:
            if not any(row[self._width :]):
                return f"{said}. Commas at the end have to be in the header, too"
            for whole, decimals in pairwise(row):
                if re.fullmatch(r"[+-]?\d+", whole) and re.fullmatch(r"\d+", decimals):
                    return (
                        f"{said}. Is {whole},{decimals} a number with a decimal comma? Write "
                        f"{whole}.{decimals}"
                    )
        return f"{said}. The file ends there: is it cut off?" if is_cut else said


def require_table(head: bytes, place: str, packed_by: str = "", advice: str = "") -> None:
    """Refuse a file of another type, in UTF-16, without line breaks, or with too many columns.

    Args:
        head: the beginning of the file, or all of it.
        place: where it is, for messages.
        packed_by, advice: see `require_csv`.

    Raises:
        InvalidInputError: it is.
    """
    require_csv(head, place, packed_by, advice)
    _require_not_utf16(head[:64], place)
    end = head.find(b"\n")
    line = head[:end] if end >= 0 else head
    if b"\r" in line.rstrip(b"\r") and b'"' not in line:
        raise _unreadable(
            place,
            "its lines end with CR alone, and LF or CR LF is expected. "
            f"Convert it: tr '\\r' '\\n' < {_name(place)} > lines.csv",
        )
    columns = head.count(b",", 0, end) + 1
    if columns > _MOST_COLUMNS:
        raise _unreadable(place, f"{columns:,} columns are no table")


def _require_utf8(content: bytes, first_line: int, place: str) -> None:
    """Refuse rows in another encoding.

    Raises:
        InvalidInputError: a byte is not UTF-8; the message names its line.
    """
    if content.isascii():
        return
    try:
        content.decode()
    except UnicodeDecodeError as error:
        at = error.start
        line = first_line + content.count(b"\n", 0, at)
        begin = max(content.rfind(b"\n", 0, at), content.rfind(b",", 0, at)) + 1
        cell = re.split(rb"[,\r\n]", content[begin : at + 100], maxsplit=1)[0]
        unseen = unseen_in_text(content)
        if unseen is not None:
            raise _unreadable(
                place,
                f"it is not text: line {line} is not UTF-8, and no text in another encoding has "
                f"the byte 0x{unseen:02X}",
            ) from error
        raise _unreadable(
            place,
            f"line {line} is not UTF-8: the byte 0x{content[at]:02X}. If "
            f"{shown(cell.decode('cp1252', 'replace'))} is right, the file is in Windows-1252 (or "
            f"Latin-1). {_convert('WINDOWS-1252', place)}",
        ) from error


def _require_not_utf16(head: bytes, place: str) -> None:
    """Refuse a file in UTF-16 or UTF-32: by its byte order mark, or every other byte is 0.

    Args:
        head: the first bytes of the file.
        place: where it is, for messages.

    Raises:
        InvalidInputError: it is.
    """
    encoding = None
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "UTF-32"
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "UTF-16"
    elif len(head) > 3 and not any(head[1::2]):
        encoding = "UTF-16LE"
    elif len(head) > 3 and not any(head[::2]):
        encoding = "UTF-16BE"
    if encoding is not None:
        raise _unreadable(
            place, f"it is in {encoding}, and UTF-8 is expected. {_convert(encoding, place)}"
        )


def _require_header(text: str, line: int, place: str) -> None:
    """Refuse a first line that is recognisably something else than a header."""
    if text.startswith("#"):
        raise _unreadable(
            place,
            f"line {line} is a comment, and the names of the columns are expected: {shown(text)}",
        )
    for separator, name in _SEPARATORS.items():
        if "," not in text and separator in text:
            raise _unreadable(
                place,
                f"line {line} separates columns by {name} ({separator!r}), and commas are "
                f"expected: {shown(text)}\n  Such a file mostly has decimal commas, and 1.234 in "
                "it may mean 1234: that is not guessed. If no number has a separator of thousands, "
                f"convert it: sed 's/,/./g; s/{_sed(separator)}/,/g' {_name(place)} > commas.csv",
            )


def _sed(separator: str) -> str:
    return r"\t" if separator == "\t" else separator


def _convert(encoding: str, place: str) -> str:
    return f"Convert it: iconv -f {encoding} -t UTF-8 {_name(place)} > utf8.csv"


def _name(place: str) -> str:
    """Return the file of a command that converts it: of a body, the one that was sent."""
    return shlex.quote(place) if place.endswith(".csv") else "FILE"


def _unreadable(place: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"{place} cannot be read: {why}")
