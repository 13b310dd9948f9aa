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
    allowed = await _allowed(database)
    needed = sessions_needed(actors)
    if needed > allowed:
        fitting = _fitting(allowed)
        fewer = f"use at most {fitting} (--actors, REVALUE_ACTORS), or " if fitting > 0 else ""
        raise UsageError(
            f"{actors} valuation actors and the scheduler need {needed} database sessions, and "
            f"this user may have {allowed} in this database: {fewer}raise the limit to "
            f"{needed} and what other programs need (max_connections of the server less what it "
            "reserves, CONNECTION LIMIT of the database and of the user)"
        )


async def actors_that_fit(database: Database, most: int) -> int:
    """Return how many valuation actors the database allows, `most` at most.

    Raises:
        UsageError: it does not even allow one.
    """
    fitting = min(most, _fitting(await _allowed(database)))
    if fitting < 1:
        await require_sessions(database, 1)
    return max(1, fitting)


async def _allowed(database: Database) -> int:
    async with database.connection() as connection:
        allowed: int = (await sql("session_limit").fetch(connection))[0]["sessions"]
    return allowed


def _fitting(allowed: int) -> int:
    return (allowed - _OF_THE_SCHEDULER) // _OF_AN_ACTOR - 1
