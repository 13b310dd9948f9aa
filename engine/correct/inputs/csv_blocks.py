"""Cut a CSV file into blocks of whole rows, without parsing it."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from revalue.engine.errors import InvalidInputError

_LONGEST_ROW_BYTES = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WITHOUT_VALUE = b" \t\r\n,"


class Readable(Protocol):
    """Bytes that are read one after the other."""

    def read(self, size: int, /) -> bytes:
        """Return at most this many of the next bytes; b"" at the end."""


class Block(NamedTuple):
    """Whole rows of a CSV file.

    Attributes:
        rows: their bytes, line breaks included; empty if a file has a header only.
        first_line: the number of their first line in the file.
    """

    rows: bytes
    first_line: int


class CsvBlocks:
    """The blocks of a CSV file, and its header.

    A row ends at a line break with an even number of quotes before it: other line breaks are inside
    a quoted cell. This is how polars cuts a file too. A byte order mark, blank lines before the
    header, and lines without any value at the end of the file are in no block.

    Attributes:
        header: the row of the header, with its line break; known with the first block.
        header_line: the number of its first line.
        lines: how many lines were read.
    """

    def __init__(self, file: Readable, size: int, place: str) -> None:
        """Begin with no block.

        Args:
            file: the file, at its beginning.
            size: about how many bytes a block has.
            place: where the file is, for messages.
        """
        self._file = file
        self._size = size
        self._place = place
        self.header = b""
        self.header_line = 1
        self.lines = 0

    def __iter__(self) -> Iterator[Block]:
        """Read the file.

        Raises:
            InvalidInputError: a row does not end.
        """
        rest = b""
        while chunk := self._file.read(self._size):
            content = rest + chunk
            # Lines without a value wait for the next block: they may be the last ones.
            end = _last_value_end(content[: last_row_end(content)])
            if end:
                yield self._block(content[:end])
            rest = content[end:]
            if len(rest) > _LONGEST_ROW_BYTES:
                raise InvalidInputError(
                    f"{self._place} cannot be read: from line {self.lines + 1} on a row does not "
                    f"end within {_LONGEST_ROW_BYTES >> 20} MiB. Is a quote missing?"
                )
        end = _last_value_end(rest)
        if end:
            yield self._block(rest[:end])

    def _block(self, rows: bytes) -> Block:
        first_line = self.lines + 1
        self.lines += count_lines(rows)
        if self.header:
            return Block(rows, first_line)
        rows = rows.removeprefix(_BYTE_ORDER_MARK)
        begin = len(rows) - len(rows.lstrip(b"\r\n"))
        end = _first_row_end(rows, begin)
        self.header = rows[begin:end]
        self.header_line = first_line + rows.count(b"\n", 0, begin)
        return Block(rows[end:], first_line + rows.count(b"\n", 0, end))


def count_lines(content: bytes) -> int:
    """Return the number of lines; the last one may lack its line break."""
    return content.count(b"\n") + bool(content and not content.endswith(b"\n"))


def last_row_end(content: bytes) -> int:
    """Return where the last whole row ends; 0: there is none."""
    end = content.rfind(b"\n") + 1
    quotes = content.count(b'"', 0, end)
    while end and quotes % 2:
        begin = content.rfind(b"\n", 0, end - 1) + 1
        quotes -= content.count(b'"', begin, end)
        end = begin
    return end


def _last_value_end(content: bytes) -> int:
    """Return where the last line with a value ends; 0: there is none."""
    last = len(content.rstrip(_WITHOUT_VALUE))
    return (content.find(b"\n", last) + 1 or len(content)) if last else 0


def _first_row_end(content: bytes, begin: int) -> int:
    """Return where the row ends that begins at a place."""
    end = quotes = 0
    line = begin
    while True:
        end = content.find(b"\n", line) + 1
        if not end:
            return len(content)
        quotes += content.count(b'"', line, end)
        if quotes % 2 == 0:
            return end
        line = end
