"""Who holds the locks for which this process waits: mostly another program's open transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from revalue.engine.errors import WriteConflictError
from revalue.engine.postgres.blockers import Blocker, read_blockers
from revalue.engine.postgres.database import SHORT_SECONDS, Database, session_of
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_PROBE_SECONDS = 1.0


async def blockers_met_by(
    database: Database, wait: Callable[[Connection], Awaitable[object]]
) -> list[Blocker]:
    """Return who blocks `wait`, which takes locks; it is run for this, and rolled back.

    PostgreSQL says of a row only that it is locked. Who has locked it can be found only for a
        session that waits for the row.
    """
    found: list[Blocker] = []
    async with database.connection(seconds=SHORT_SECONDS) as asking:
        with suppress(WriteConflictError):
            async with database.transaction(seconds=SHORT_SECONDS) as probing:
                await probing.execute(f"SET LOCAL lock_timeout = {round(_PROBE_SECONDS * 1000)}")
                waiting = asyncio.ensure_future(wait(probing))
                session = session_of(probing)
                assert session is not None
                while not found and not waiting.done():
                    found = (await read_blockers(asking, [session.pid])).get(session.pid, [])
                    await asyncio.sleep(_PROBE_SECONDS / 20)
                await waiting
    return found


async def still_open(database: Database, blockers: Collection[Blocker]) -> set[Blocker]:
    """Return those whose transaction has not ended."""
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        rows = await sql("open_transactions").fetch(
            connection,
            pids=[blocker.pid for blocker in blockers],
            transactions=[blocker.transaction for blocker in blockers],
        )
    pids = {row["pid"] for row in rows}
    return {blocker for blocker in blockers if blocker.pid in pids}
