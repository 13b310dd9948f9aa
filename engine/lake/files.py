"""The files of a lake: as they are stored, as they are recorded, and as readers look for them."""

from dataclasses import dataclass
from datetime import date, datetime
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any, NamedTuple

from revalue.engine.errors import StorageUnavailableError
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

LONGEST_UNRECORDED_SECONDS = 3600
"""A file that is not recorded after this time never is: sweeping begins much later."""


@dataclass(frozen=True)
class StoredFile:
    """A file that is stored and not recorded yet.

    Attributes:
        path: below the root of the lake.
        row_count: number of rows.
        byte_count: size of the file.
        first_position: the smallest position_id in it; last_position: the greatest.
        first_date: the first date in it; last_date: the last one.
        max_epoch: the greatest epoch in it.
        digest: the SHA-256 of its bytes.
        stored_at: when it was stored, in seconds since this machine was started.
    """

    path: str
    row_count: int
    byte_count: int
    first_position: int
    last_position: int
    first_date: date
    last_date: date
    max_epoch: int
    digest: bytes
    stored_at: float

    @property
    def recorded(self) -> dict[str, Any]:
        """What is recorded of it.

        Raises:
            StorageUnavailableError: it was stored too long ago, by a process that stood still: it
                may have been swept meanwhile. Store the rows anew.
        """
        age = since_start() - self.stored_at
        if age > LONGEST_UNRECORDED_SECONDS:
            raise StorageUnavailableError(
                f"the file {self.path} was stored {age:.0f} s ago and is not recorded yet: it may "
                "have been swept as an orphan"
            )
        return {name: value for name, value in vars(self).items() if name != "stored_at"}


class ListedFile(NamedTuple):
    """A file that may have some of the rows that a reader wants.

    Attributes:
        path: below the root of the lake.
        is_merged: each of its rows has its own time of commit.
        is_alone: no other file has rows of any of its positions on any of its dates. False: perhaps
            one has.
    """

    path: str
    is_merged: bool
    is_alone: bool = False


@dataclass(frozen=True)
class RecordedFile:
    """One file of the lake.

    Attributes:
        path: below the root of the lake.
        row_count: number of rows.
        byte_count: size of the file.
        sha256: the digest of its bytes.
        max_epoch: the greatest epoch in it.
        first_date: the first date in it; last_date: the last one.
        is_merged: maintenance made it, so each row has its own time of commit.
        valued_at: when all of its rows were committed; None: it is merged.
        floor: the retention floor at which superseded rows were left out; None: none were.
    """

    path: str
    row_count: int
    byte_count: int
    sha256: bytes
    max_epoch: int
    first_date: date
    last_date: date
    is_merged: bool
    valued_at: datetime | None
    floor: datetime | None

    @property
    def month(self) -> date:
        """The first day of the month of its first date."""
        return self.first_date.replace(day=1)

    @property
    def is_of_one_month(self) -> bool:
        """Whether all of its dates are in the same month."""
        return self.month == self.last_date.replace(day=1)

    @property
    def listed(self) -> ListedFile:
        """The file as `Lake` reads it."""
        return ListedFile(self.path, self.is_merged)

    def overlaps(self, first: date, last: date) -> bool:
        """Return whether it may have rows from `first` to `last` (both included)."""
        return self.first_date <= last and self.last_date >= first


async def recorded_files(connection: Connection) -> list[RecordedFile]:
    """Return every file that is recorded, the oldest first."""
    return [RecordedFile(**row) for row in await sql("recorded_files").fetch(connection)]


async def record(connection: Connection, file: StoredFile) -> None:
    """Record a stored file in the transaction that finishes the jobs of its rows."""
    await sql("register_file").execute(connection, **file.recorded)


def since_start() -> float:
    """Return the seconds since this machine was started, those while it was suspended included."""
    return clock_gettime(CLOCK_BOOTTIME)
