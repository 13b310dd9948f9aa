"""Cut a CSV file into blocks of whole rows, without parsing it."""

from collections.abc import Iterator
from typing import BinaryIO

from revalue.engine.errors import InvalidInputError

_LONGEST_ROW_BYTES = 64 << 20


class CsvBlocks:
    """The blocks of a CSV file: the first one with the header, the others without.

    A row ends at a line break before which the number of quotes is even: others are inside of a
    quoted cell. This is how polars cuts a file too.

    Attributes:
        header: the row of the header, with its line break; known with the first block.
        lines: how many lines were read.
    """

    def __init__(self, file: BinaryIO, size: int, place: str) -> None:
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
        self.lines = 0

    def __iter__(self) -> Iterator[bytes]:
        """Read the file.

        Raises:
            InvalidInputError: a row does not end.
        """
        rest = b""
        while chunk := self._file.read(self._size):
            content = rest + chunk
            end = _last_row_end(content)
            if end:
                yield self._block(content[:end])
            rest = content[end:]
            if len(rest) > _LONGEST_ROW_BYTES:
                raise InvalidInputError(
                    f"{self._place} cannot be read: from line {self.lines + 1} on a row does not "
                    f"end within {_LONGEST_ROW_BYTES >> 20} MiB. Is a quote missing?"
                )
        if rest:
            yield self._block(rest)

    def _block(self, block: bytes) -> bytes:
        if not self.header:
            begin = len(block) - len(block.lstrip(b"\r\n"))
            self.header = block[: _first_row_end(block, begin)]
        self.lines += block.count(b"\n") + (not block.endswith(b"\n"))
        return block


def _last_row_end(content: bytes) -> int:
    """Return where the last whole row ends; 0: there is none."""
    end = content.rfind(b"\n") + 1
    quotes = content.count(b'"', 0, end)
    while end and quotes % 2:
        begin = content.rfind(b"\n", 0, end - 1) + 1
        quotes -= content.count(b'"', begin, end)
        end = begin
    return end


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
