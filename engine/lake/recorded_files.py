"""The files of a lake, as the database records them."""

from dataclasses import dataclass
from datetime import date, datetime

from revalue.engine.lake.lake import ListedFile
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


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
