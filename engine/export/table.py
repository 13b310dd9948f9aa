"""What all formats of an exported table have in common: files of months, and commits of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import pyarrow.parquet as pq

from revalue.engine.errors import StorageSetupError, WriteConflictError
from revalue.engine.fault_injection import fault_point
from revalue.engine.lake.storage import LakeStorage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DataFile:
    """A Parquet file that is stored at the target, and listed by no commit yet.

    Attributes:
        path: below the target.
        month: the first day of the month of its rows.
        row_count: number of rows.
        byte_count: size of the file.
        footer: what the file says of its columns.
    """

    path: str
    month: date
    row_count: int
    byte_count: int
    footer: pq.FileMetaData


@dataclass(frozen=True)
class Version:
    """What the newest commit of a table stands for.

    Attributes:
        name: what the format calls it: a number, or the id of a snapshot.
        moment: the table has the numbers that readers saw at this time.
        months: the first day of each month that has a file.
    """

    name: str
    moment: datetime
    months: frozenset[date]


class Table(Protocol):
    """A table at a target, in one format. All methods block, for a bounded time."""

    def newest(self) -> Version | None:
        """Return the newest commit; None: nothing was committed yet.

        Raises:
            ExportFaultError: what lies at the target cannot be read as such a table.
            TransientError: it cannot be reached now.
        """

    def commit(
        self, moment: datetime, months: Collection[date], files: Sequence[DataFile]
    ) -> Version:
        """Replace the files of months by others, in one commit: readers see all of it or nothing.

        Args:
            moment: what the table stands for then.
            months: whose files are listed no longer.
            files: what is listed instead: of these months, and at least one file of a new table.

        Raises:
            WriteConflictError: another program has committed since `newest`.
            TransientError: the target cannot be reached now. Whether it was committed is found out
                by `newest`.
        """


class Versions:
    """Numbered files, the newest of which describes the table: writing one is a commit.

    A file is written once, so of two programs that commit at the same time one fails. For readers
    that cannot list files, a pointer (one file that is replaced) names the newest; it lags behind
    for as long as it takes to write it.
    """

    def __init__(self, storage: LakeStorage, folder: str, name: str, pointer: str) -> None:
        """Refer to the files of a folder.

        Args:
            name: of a file, with {} for its number.
            pointer: the path of the pointer.
        """
        self._storage = storage
        self._folder, self._pointer = folder, pointer
        self._before, _, self._after = f"{folder}/{name}".partition("{}")

    def path(self, number: int) -> str:
        """Return the path of a file."""
        return f"{self._before}{number}{self._after}"

    def newest(self) -> int | None:
        """Return the greatest number of a file; None: there is none."""
        found = []
        for file in self._storage.list(f"{self._folder}/"):
            number = file.path.removeprefix(self._before).removesuffix(self._after)
            if number.isdecimal() and self.path(int(number)) == file.path:
                found.append(int(number))
        return max(found, default=None)

    def add(self, number: int, data: bytes, pointer: bytes) -> None:
        """Write a new file, and let the pointer say so.

        Raises:
            WriteConflictError: another program has written one of this number.
        """
        try:
            self._storage.put(self.path(number), data)
        except StorageSetupError:
            if (self.newest() or 0) < number:
                raise
            raise WriteConflictError(
                f"another program has committed to {self._storage.source(self.path(number))} at "
                "the same time: run it again"
            ) from None
        fault_point("export.committed")
        self.point(pointer)

    def point(self, pointer: bytes) -> None:
        """Let the pointer say what it should."""
        self._storage.replace(self._pointer, pointer)


def microseconds(moment: datetime) -> int:
    """Return a time as the number of microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def of_microseconds(number: int) -> datetime:
    """Return the time that `microseconds` gave a number for."""
    return _EPOCH + timedelta(microseconds=number)
