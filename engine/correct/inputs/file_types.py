"""Tell by its beginning what a file is that is neither CSV nor Parquet, or not the one expected."""

import re
from typing import NamedTuple

from revalue.engine.correct.inputs.problems import shown
from revalue.engine.errors import InvalidInputError

HEAD_BYTES = 1 << 16
"""How much of a file is looked at."""

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_UNSEEN_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x19\x1b-\x1f]")

_SAVE_AS_CSV = "Save the sheet as CSV (UTF-8) with commas"
_UNPACK = "Unpack it before"


class FileType(NamedTuple):
    """What a file is.

    Attributes:
        name: in words, with its article.
        what_to_do: to have it loaded; may be empty.
    """

    name: str
    what_to_do: str = ""


_BY_BEGINNING = {
    _PARQUET: FileType(
        "a Parquet file", "The suffix .parquet says so, --format parquet, or the Content-Type"
    ),
    b"PARE": FileType("a Parquet file that is encrypted"),
    b"ARROW1": FileType("a Feather or Arrow file", "Write it as Parquet"),
    b"FEA1": FileType("a Feather file", "Write it as Parquet"),
    b"Obj\x01": FileType("an Avro file", "Write it as Parquet"),
    b"SQLite format 3\x00": FileType("a database of SQLite"),
    b"\x89HDF\r\n\x1a\n": FileType("an HDF5 file", "Write it as Parquet"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": FileType("an Excel file (.xls)", _SAVE_AS_CSV),
    b"%PDF-": FileType("a PDF"),
    _GZIP: FileType("compressed"),
    b"\x28\xb5\x2f\xfd": FileType("compressed by zstd", _UNPACK),
    b"\x78\x01": FileType("compressed by zlib", _UNPACK),
    b"\x78\x9c": FileType("compressed by zlib", _UNPACK),
    b"\x78\xda": FileType("compressed by zlib", _UNPACK),
    b"\xfd7zXZ\x00": FileType("compressed by xz", _UNPACK),
    b"\x04\x22\x4d\x18": FileType("compressed by lz4", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": FileType("a 7-Zip archive", _UNPACK),
    b"Rar!\x1a\x07": FileType("a RAR archive", _UNPACK),
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_WORKBOOKS = (b"xl/", b"opendocument.spreadsheet")
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_ORC = b"ORC"
_HTML = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
_TAR_AT, _TAR = 257, b"ustar"


def file_type(head: bytes) -> FileType | None:
    """Return what a file is that begins like this; None: its beginning does not say so."""
    head = head[:HEAD_BYTES]
    for beginning, found in _BY_BEGINNING.items():
        if head.startswith(beginning):
            return found
    if head.startswith(_ZIP):
        if any(name in head for name in _WORKBOOKS):
            return FileType("a workbook of Excel or another spreadsheet", _SAVE_AS_CSV)
        return FileType("a ZIP archive", _UNPACK)
    if _BZIP2.match(head):
        return FileType("compressed by bzip2", _UNPACK)
    if head.startswith(_ORC) and unseen_in_text(head) is not None:
        return FileType("an ORC file", "Write it as Parquet")
    if _HTML.match(head):
        return FileType("an HTML page", "Was it downloaded from where one has to sign in?")
    if head[_TAR_AT:].startswith(_TAR):
        return FileType("a tar archive", _UNPACK)
    return None


def require_csv(head: bytes, place: str, packed_by: str = "", advice: str = "") -> None:
    """Refuse what begins like a file of another type.

    Args:
        head: the content, or its beginning.
        place: where it came from, for messages.
        packed_by: what has unpacked the content; empty: it is as it came.
        advice: what to do with a file of gzip.

    Raises:
        InvalidInputError: it does.
    """
    found = file_type(head)
    if found is None:
        return
    name, what_to_do = found
    if head.startswith(_GZIP):
        what_to_do = advice
    if packed_by:
        name = f"{name} that {packed_by} has packed" if name != "compressed" else name
        what_to_do = _UNPACK
    raise _refused(place, f"it is {name}, and not CSV", what_to_do)


def require_parquet(head: bytes, place: str) -> None:
    """Refuse what does not begin like Parquet.

    Args:
        head: the content, or its beginning.
        place: where it came from, for messages.

    Raises:
        InvalidInputError: it does not.
    """
    if head.startswith(_PARQUET):
        return
    if not head:
        raise _refused(place, "it is empty, and not Parquet")
    found = file_type(head)
    if found is not None:
        raise _refused(place, f"it is {found.name}, and not Parquet", found.what_to_do)
    if unseen_in_text(head) is not None:
        raise _refused(place, "it does not begin as Parquet does (PAR1)")
    line = head.partition(b"\n")[0].decode(errors="replace").strip()
    raise _refused(place, f"it is text, and not Parquet: it begins with {shown(line)}")


def unseen_in_text(content: bytes) -> int | None:
    """Return the first byte that no text has, whatever its encoding; None: there is none."""
    found = _UNSEEN_IN_TEXT.search(content)
    return None if found is None else found.group()[0]


def _refused(place: str, why: str, what_to_do: str = "") -> InvalidInputError:
    return InvalidInputError(f"{place} cannot be read: {why}{what_to_do and f'. {what_to_do}'}")
