"""Whether a leader is alive, judged by the observer's own clock.

A heartbeat is a time of the database's clock, which can be set back or forward: then a dead leader
would count as alive until the clock gets there, and a live one as dead.
"""

import asyncio
from time import monotonic

import asyncpg

from revalue.engine.errors import LeaderActiveError
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import SHORT_SECONDS, Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_LOOK_SECONDS = 0.1


class Lease:
    """Watches the leader. Show it the row of `leader.sql` again and again.

    Attributes:
        changes: how often the row differed from the row seen before.
    """

    def __init__(self, seconds: float) -> None:
        """Create a watch.

        Args:
            seconds: a leader that has sent no heartbeat for so long is considered dead.
        """
        self.seconds = seconds
        self.changes = 0
        self._heard: tuple[object, object] | None = None
        self._since = 0.0

    @property
    def unchanged_seconds(self) -> float:
        """For how long the row has not changed, in seconds."""
        return monotonic() - self._since

    def look(self, leader: asyncpg.Record) -> None:
        """Note the row."""
        heard = (leader["term"], leader["heartbeat_at"])
        if heard != self._heard:
            self.changes += self._heard is not None
            self._heard, self._since = heard, monotonic()

    async def is_over(self, connection: Connection, leader: asyncpg.Record) -> bool:
        """Note the row; return whether its leader is considered dead.

        It is when it has sent no heartbeat for the time of a lease by the watch of this process; at
        once, if the last one is further from the database's clock than that, before or after it,
        and no database session of the leader is left.
        """
        self.look(leader)
        if self.unchanged_seconds >= self.seconds:
            return True
        return leader["silent_seconds"] > self.seconds and not await is_connected(
            connection, leader["holder"]
        )


def leads_already(leader: asyncpg.Record) -> LeaderActiveError:
    """Return the error of a leader that has just sent a heartbeat."""
    return LeaderActiveError(
        f"scheduler {leader['holder']} holds term {leader['term']} and is alive: wait for it, stop "
        "it (`revalue drain`), or take over (from then on it cannot write)"
    )


async def require_no_leader(database: Connections, *, lease_seconds: float) -> None:
    """Check that no scheduler leads, before another one is started.

    Whether the present leader is alive, its next heartbeat shows. Without one, nothing is known
    yet: the new scheduler waits for the end of its lease.

    Raises:
        LeaderActiveError: one leads, and is alive.
    """
    lease = Lease(lease_seconds)
    while True:
        async with database.connection(seconds=SHORT_SECONDS) as connection:
            leader = await sql("leader").one(connection)
            if leader["holder"] is None or not await is_connected(connection, leader["holder"]):
                return
        lease.look(leader)
        if lease.changes:
            raise leads_already(leader)
        if lease.unchanged_seconds > lease_seconds / 2:  # in which it sends two heartbeats
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def was_left(database: Connections) -> bool:
    """Return whether the last scheduler has gone without giving its term back: it has died."""
    async with database.connection(seconds=SHORT_SECONDS) as connection:
        holder = (await sql("leader").one(connection))["holder"]
        return holder is not None and not await is_connected(connection, holder)


async def is_connected(connection: Connection, holder: str) -> bool:
    """Return whether a scheduler has a database session."""
    name = application_name("scheduler", holder)
    found: bool = await sql("is_connected").value(connection, name=name)
    return found
