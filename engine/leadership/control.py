"""Operators' requests to the scheduler: pause, resume, drain. It reads them in each iteration."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from revalue.engine.errors import TransientError
from revalue.engine.leadership.lease import Lease
from revalue.engine.postgres.database import SHORT_SECONDS, Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)


@dataclass(frozen=True)
class Leader:
    """The scheduler that leads.

    term: its number.
    holder: its name; None when nobody leads.
    silent_seconds: by how much its last heartbeat differs from the database's clock.
    is_dead: whether it is considered dead (see Lease).
    """

    term: int
    holder: str | None
    silent_seconds: float
    is_dead: bool = False


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


async def leader(database: Connections, lease: Lease | None = None) -> Leader:
    """Return who leads now.

    Args:
        lease: what has watched the leader so far.
    """
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        row = await sql("leader").one(connection)
        is_led = row["holder"] is not None
        is_dead = lease is not None and is_led and await lease.is_over(connection, row)
    return Leader(row["term"], row["holder"], row["silent_seconds"], is_dead)


async def drain(database: Connections, *, seconds: float, lease_seconds: float) -> Leader:
    """Ask the leader to finish what is in flight and to end, and wait until it has.

    A leader that is considered dead is not waited for: the next scheduler releases what it began.
    One that begins another term meanwhile, because it is restarted or moves, ends that one, too.

    Returns:
        The scheduler that was asked; its holder is None when nobody led.

    Raises:
        DrainTimeoutError: it has not ended after `seconds`.
    """
    found = await leader(database)
    if found.holder is None:
        return found
    async with database.transaction(seconds=SHORT_SECONDS) as connection:
        await sql("drain").execute(connection, holder=found.holder)
        await connection.execute("NOTIFY revalue_wake")
    end = monotonic() + seconds
    lease = Lease(lease_seconds)
    while True:
        now = await leader(database, lease)
        if now.holder != found.holder:
            return found
        if now.is_dead:
            return now
        if monotonic() > end:
            raise DrainTimeoutError(
                f"scheduler {found.holder} (term {found.term}) still finishes its tasks in "
                f"flight after {seconds:.0f} s: wait longer (--timeout), or end its process; the "
                "next scheduler recovers what it leaves"
            )
        await asyncio.sleep(0.1)
