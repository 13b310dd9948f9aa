"""Who holds the locks for which this process waits: mostly another program's open transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from revalue.engine.errors import WriteConflictError
from revalue.engine.postgres.database import SHORT_SECONDS, Database
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class Blocker:
    """A database session whose open transaction holds a lock.

    Attributes:
        pid: its process on the server.
        user: its database user.
        application: its application_name; empty if it has none.
        transaction: its virtual transaction id.
        began: when the transaction began; None: this database user may not see it.
        table: the table in which it has locked rows; None: unknown.
    """

    pid: int
    user: str
    application: str
    transaction: str
    began: datetime | None
    table: str | None

    def __str__(self) -> str:
        """Say which session it is, and since when its transaction is open."""
        name = f"database session pid {self.pid} (user {self.user}"
        name += f", application {self.application})" if self.application else ")"
        if self.began is None:
            return name
        seconds = (datetime.now(UTC) - self.began).total_seconds()
        since = self.began.astimezone(UTC)
        return f"{name}, in a transaction since {since:%Y-%m-%d %H:%M:%S} UTC ({seconds:.0f} s)"


async def blockers_of(database: Database, waiting: Collection[int]) -> list[Blocker]:
    """Return who blocks the database sessions with these pids; the oldest transaction first."""
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        return await _blockers(connection, waiting)


async def blockers_met_by(
    database: Database, wait: Callable[[Connection], Awaitable[object]]
) -> list[Blocker]:
    """Return who blocks `wait`, which takes locks; it is run for this, and rolled back.

    A row tells only that it is locked: who has locked it is known of a session that waits for it.
    """
    found: list[Blocker] = []
    async with database.connection(seconds=SHORT_SECONDS) as asking:
        with suppress(WriteConflictError):
            async with database.transaction(seconds=SHORT_SECONDS) as probing:
                await probing.execute(f"SET LOCAL lock_timeout = {round(_PROBE_SECONDS * 1000)}")
                waiting = asyncio.ensure_future(wait(probing))
                while not found and not waiting.done():
                    found = await _blockers(asking, [probing.get_server_pid()])
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


async def _blockers(connection: Connection, waiting: Collection[int]) -> list[Blocker]:
    rows = await sql("blocking_sessions").fetch(connection, waiting=list(waiting))
    return [
        Blocker(
            pid=row["pid"],
            user=row["user_name"],
            application=row["application_name"],
            transaction=row["transaction"],
            began=row["began"],
            table=row["table_name"],
        )
        for row in rows
    ]
