"""Who holds the locks for which database sessions wait: mostly another program's transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


@dataclass(frozen=True)
class Blocker:
    """A database session whose open transaction holds a lock.

    Attributes:
        pid: its process on the server.
        user: its database user; None: it is a process of the server itself, such as autovacuum.
        application: its application_name; empty if it has none. Of a process of the server what it
            is, for whoever may see that.
        transaction: its virtual transaction id.
        began: when the transaction began; None: this database user may not see it.
        table: the table in which it has locked rows; None: unknown.
    """

    pid: int
    user: str | None
    application: str
    transaction: str
    began: datetime | None
    table: str | None

    def __str__(self) -> str:
        """Say which session it is, and since when its transaction is open."""
        if self.user is None:
            name = f"a process of the database server, pid {self.pid}"
            name += f" ({self.application})" if self.application else ""
        else:
            name = f"database session pid {self.pid} (user {self.user}"
            name += f", application {self.application})" if self.application else ")"
        if self.began is None:
            return name
        seconds = (datetime.now(UTC) - self.began).total_seconds()
        since = self.began.astimezone(UTC)
        return f"{name}, in a transaction since {since:%Y-%m-%d %H:%M:%S} UTC ({seconds:.0f} s)"

    @property
    def advice(self) -> str:
        """What to do so that nothing waits for it any more."""
        if self.user is None:
            return "It ends by itself; autovacuum makes way, unless it prevents wraparound"
        return f"End that transaction, or its session: SELECT pg_terminate_backend({self.pid})"


async def read_blockers(
    connection: "Connection | asyncpg.Connection[asyncpg.Record]", waiting: Collection[int]
) -> dict[int, list[Blocker]]:
    """Return who blocks each of the database sessions `waiting` (pids); the oldest first.

    Sessions that nobody blocks are left out.
    """
    found: dict[int, list[Blocker]] = {}
    for row in await connection.fetch(sql("blocking_sessions").positional, list(waiting)):
        found.setdefault(row["waiting"], []).append(
            Blocker(
                pid=row["pid"],
                user=row["user_name"],
                application=row["application_name"],
                transaction=row["transaction"],
                began=row["began"],
                table=row["table_name"],
            )
        )
    return found
