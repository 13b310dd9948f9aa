"""What there is to do, read by one statement that costs the same for any number of positions."""

from dataclasses import dataclass

from revalue.engine.postgres.database import SHORT_SECONDS, Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)


@dataclass(frozen=True)
class Outlook:
    """What there is to do for the steps that create jobs.

    has_triggers: a correction is queued.
    has_unstaged: positions are noted that may not be staged (unstaged_positions).
    calendars: the revisions of all calendars: which business dates there are, and which are opened.
        None: unknown.
    retry_in: seconds until the next deferred job is due (negative: overdue); None: none is.
    """

    has_triggers: bool
    has_unstaged: bool
    calendars: str | None
    retry_in: float | None


UNKNOWN = Outlook(has_triggers=True, has_unstaged=True, calendars=None, retry_in=0.0)
"""Each step may have something to do, and has to look for it."""


async def read_outlook(database: Connections) -> Outlook:
    """Return what there is to do."""
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        return Outlook(**await sql("outlook").one(connection))
