"""How many database sessions an engine needs, against what the database allows."""

from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_OF_AN_ACTOR = 2
_OF_THE_SCHEDULER = 11


def sessions_needed(actors: int) -> int:
    """The number of sessions of a scheduler and its actors, with the one for today's work."""
    return _OF_THE_SCHEDULER + _OF_AN_ACTOR * (actors + 1)


async def require_sessions(database: Database, actors: int) -> None:
    """Check that the database allows the sessions that a number of valuation actors needs.

    What other programs use of them at present is not counted: it changes.

    Raises:
        UsageError: it allows fewer.
    """
    async with database.connection() as connection:
        allowed = (await sql("session_limit").fetch(connection))[0]["sessions"]
    needed = sessions_needed(actors)
    if needed > allowed:
        fitting = (allowed - _OF_THE_SCHEDULER) // _OF_AN_ACTOR - 1
        fewer = f"use at most {fitting} (--actors, REVALUE_ACTORS), or " if fitting > 0 else ""
        raise UsageError(
            f"{actors} valuation actors and the scheduler need {needed} database sessions, and "
            f"this user may have {allowed} in this database: {fewer}raise the limit to "
            f"{needed} and what other programs need (max_connections of the server less what it "
            "reserves, CONNECTION LIMIT of the database and of the user)"
        )
