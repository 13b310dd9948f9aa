"""An upper bound of the due position-days, found quickly: a run chooses its runtime by it."""

from revalue.engine.postgres.database import SHORT_SECONDS, Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)


async def due_at_most(database: Connections, enough: int) -> int:
    """Return an upper bound of the number of due position-days.

    Position-days that two queued corrections affect are counted twice.

    Args:
        database: the database to ask.
        enough: stop counting here: return this number if so many or more are due.
    """
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        found: int = await sql("due_bound").value(connection, enough=enough)
    return found
