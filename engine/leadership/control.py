"""What an operator asks of the scheduler: pause, resume, drain. It reads this at every turn of its loop."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from revalue.engine.errors import TransientError
from revalue.engine.postgres.database import Database


@dataclass(frozen=True)
class Leader:
    """Who leads: holder None: nobody. silent_seconds: since it last spoke, by the database's clock."""

    term: int
    holder: str | None
    silent_seconds: float


class DrainTimeoutError(TransientError):
    """The scheduler has not ended yet; it still finishes what is in flight."""


async def pause(database: Database, by: str) -> datetime:
    """No new work is begun from now on, by this scheduler and those after it; what is in flight is finished and applied.

    Pausing what is paused changes nothing. Returns since when it is.
    """
    async with database.transaction() as connection:
        since: datetime = await connection.fetchval(
            """UPDATE scheduler_term SET paused_at = COALESCE(paused_at, clock_timestamp()), paused_by = COALESCE(paused_by, $1)
               RETURNING paused_at""",
            by,
        )
        await connection.execute("NOTIFY revalue_wake")
    return since


async def resume(database: Database) -> datetime | None:
    """Takes a pause back; returns since when it was paused, None when it was not."""
    async with database.transaction() as connection:
        since: datetime | None = await connection.fetchval(
            "SELECT paused_at FROM scheduler_term FOR UPDATE"
        )
        await connection.execute("UPDATE scheduler_term SET paused_at = NULL, paused_by = NULL")
        await connection.execute("NOTIFY revalue_wake")
    return since


async def leader(database: Database) -> Leader:
    """Who leads now."""
    async with database.connection() as connection:
        row = await connection.fetchrow(
            """SELECT term, holder, COALESCE(extract(epoch FROM clock_timestamp() - heartbeat_at), 0)::float8 AS silent
               FROM scheduler_term"""
        )
    assert row is not None
    return Leader(row["term"], row["holder"], row["silent"])


async def drain(database: Database, *, seconds: float, lease_seconds: float) -> Leader:
    """Asks the leader to finish what is in flight and end, and waits until it has; returns who it was (holder None: there
    was none). One that has been silent for longer than its lease is not waited for: what it began is released by the next.

    Raises DrainTimeoutError after `seconds`.
    """
    found = await leader(database)
    if found.holder is None:
        return found
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE scheduler_term SET drain_term = term WHERE term = $1", found.term
        )
        await connection.execute("NOTIFY revalue_wake")
    end = monotonic() + seconds
    while True:
        now = await leader(database)
        if now.holder is None or now.term != found.term:
            return found
        if now.silent_seconds > lease_seconds:
            return now
        if monotonic() > end:
            raise DrainTimeoutError(
                f"scheduler {found.holder} (term {found.term}) still finishes what is in flight after {seconds:.0f} s: "
                "wait longer (--timeout), or end its process: what it leaves is recovered by the next one"
            )
        await asyncio.sleep(0.1)
