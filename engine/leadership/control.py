"""Operators' requests to the scheduler: pause, resume, drain. It reads them in each iteration."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from revalue.engine.errors import TransientError
from revalue.engine.postgres.database import SHORT_SECONDS, Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)


@dataclass(frozen=True)
class Leader:
    """The scheduler that leads.

    term: its number.
    holder: its name; None when nobody leads.
    silent_seconds: time since its last heartbeat, by the database's clock.
    """

    term: int
    holder: str | None
    silent_seconds: float


class DrainTimeoutError(TransientError):
    """The scheduler has not ended yet; it still finishes what is in flight."""


async def pause(database: Connections, by: str) -> datetime:
    """Stop this scheduler and its successors from beginning new work, until `resume`.

    Tasks in flight are finished and applied. A second pause changes nothing.

    Args:
        by: who pauses; shown to other operators.

    Returns:
        Since when the engine is paused.
    """
    async with database.transaction(seconds=SHORT_SECONDS) as connection:
        since: datetime = await sql("pause").value(connection, by=by)
        await connection.execute("NOTIFY revalue_wake")
    return since


async def resume(database: Connections) -> datetime | None:
    """End a pause; return since when it held, or None when there was none."""
    async with database.transaction(seconds=SHORT_SECONDS) as connection:
        since: datetime | None = await sql("resume").value(connection)
        await connection.execute("NOTIFY revalue_wake")
    return since


async def leader(database: Connections) -> Leader:
    """Return who leads now."""
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        row = await sql("leader").one(connection)
    return Leader(row["term"], row["holder"], row["silent_seconds"])


async def drain(database: Connections, *, seconds: float, lease_seconds: float) -> Leader:
    """Ask the leader to finish what is in flight and to end, and wait until it has.

    A leader that has been silent for longer than its lease is not waited for: the next scheduler
    releases what it began.

    Returns:
        The scheduler that was asked; its holder is None when nobody led.

    Raises:
        DrainTimeoutError: it has not ended after `seconds`.
    """
    found = await leader(database)
    if found.holder is None:
        return found
    async with database.transaction(seconds=SHORT_SECONDS) as connection:
        await sql("drain").execute(connection, term=found.term)
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
                f"scheduler {found.holder} (term {found.term}) still finishes its tasks in "
                f"flight after {seconds:.0f} s: wait longer (--timeout), or end its process; the "
                "next scheduler recovers what it leaves"
            )
        await asyncio.sleep(0.1)
