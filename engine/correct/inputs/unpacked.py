"""Unpack a file of gzip as it is read, and no more of it than a file of data can be."""

import gzip
import zlib
from typing import BinaryIO

from revalue.engine.errors import InvalidInputError

_MOST_TIMES = 100
_ALWAYS_BYTES = 1 << 30


class Unpacked:
    """The content of a file that gzip has packed.

    It ends with an error once it is larger than any data are: packed, a thousand equal rows take as
    little as one, so that a file of megabytes could fill the disk with its rows.
    """

    def __init__(self, file: BinaryIO, size: int, place: str) -> None:
        """Begin at the beginning of the file.

        Args:
            file: the packed file.
            size: how many bytes it has.
            place: where it is, for messages.
        """
        self._content = gzip.GzipFile(fileobj=file)
        self._most = max(_ALWAYS_BYTES, _MOST_TIMES * size)
        self._place = place
        self._read = 0

    def read(self, size: int) -> bytes:
        """Return at most this many of the next bytes; b"" at the end.

        Raises:
            InvalidInputError: it cannot be unpacked, or it is too large.
        """
        try:
            content = self._content.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(f"{self._place} cannot be unpacked: {error}") from error
        self._read += len(content)
        if self._read > self._most:
            raise InvalidInputError(
                f"{self._place} unpacks to more than {self._most:,} bytes, more than "
                f"{_MOST_TIMES} times its size: data are not like this. If it is right, unpack it "
                "before"
            )
        return content
