"""At most how many position-days are due, told quickly: by it a run chooses its runtime."""

from revalue.engine.postgres.database import SHORT_SECONDS, Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)


async def due_at_most(database: Connections, enough: int) -> int:
    """Return a number that is not less than that of the due position-days.

    Position-days that two queued corrections reach are counted twice.

    Args:
        database: the database to ask.
        enough: nobody asks for more: it is returned if so many or more are due.
    """
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        found: int = await sql("due_bound").value(connection, enough=enough)
    return found
