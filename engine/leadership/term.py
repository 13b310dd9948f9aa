"""Leadership: the database issues terms, and each transaction of a scheduler locks its own term."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from revalue.engine.errors import TermLostError
from revalue.engine.fault_injection import fault_point
from revalue.engine.leadership.lease import Lease, leads_already
from revalue.engine.postgres import schema
from revalue.engine.postgres.backends import application_name, terminate_backends
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_TELL_SECONDS = 1
_ACQUIRE_SECONDS = 60  # it may end several database sessions of the leader before


def new_holder() -> str:
    """Return a name that is never used again: of one command, wherever its schedulers run."""
    return f"{socket.gethostname()}/{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Control:
    """What operators ask of a scheduler.

    paused: begin nothing new until resumed.
    drain: finish what is in flight, then end.
    """

    paused: bool
    drain: bool


class Term:
    """One scheduler's leadership.

    Its transactions fail with TermLostError once another scheduler has a newer term.
    """

    def __init__(
        self, database: Connections, number: int, holder: str, *, lease_seconds: float = 10
    ) -> None:
        self._database = database
        # An answer that comes later than a heartbeat is due is of no use.
        self._short_seconds = lease_seconds
        self.number = number
        self.holder = holder
        self._own = {"term": number, "holder": holder}

    @classmethod
    async def acquire(
        cls,
        database: Connections,
        holder: str,
        *,
        lease_seconds: float,
        take_over: bool = False,
        tell: Callable[[str], None] = lambda waits_for: None,
    ) -> "Term":
        """Begin a new term for `holder`.

        Waits until the lease of a silent leader is over, then ends that leader's database sessions:
        one that is stopped inside a transaction would hold its term's lock forever. So it ends
        after the time of a lease and a moment, whatever the clocks say.

        Args:
            lease_seconds: a leader without a heartbeat for longer is considered dead (see Lease).
            take_over: succeed any leader without waiting.
            tell: is called with what it waits for.

        Raises:
            LeaderActiveError: another holder sent a heartbeat while this one waited.
        """
        lease = Lease(lease_seconds)
        while True:
            async with database.transaction(seconds=_ACQUIRE_SECONDS) as connection:
                fault_point("acquire.begun")
                leader = await sql("leader").one(connection)
                before = leader["holder"]
                is_dead = before is not None and await lease.is_over(connection, leader)
                if before is not None and (is_dead or take_over or before == holder):
                    await terminate_backends(connection, application_name("scheduler", before))
                number = await sql("acquire").value(
                    connection,
                    holder=holder,
                    take_over=take_over,
                    dead_term=leader["term"] if is_dead else None,
                    dead_heartbeat=leader["heartbeat_at"] if is_dead else None,
                )
                fault_point("acquire.written")
            if number is not None:
                fault_point("acquire.committed")
                return cls(database, number, holder, lease_seconds=lease_seconds)
            if lease.changes:
                raise leads_already(leader)
            if lease.unchanged_seconds >= _TELL_SECONDS:
                left = max(0.0, lease_seconds - lease.unchanged_seconds)
                tell(
                    f"scheduler {before} holds term {leader['term']} and sends no heartbeat: it is "
                    f"succeeded if it sends none for {left:.0f} s more"
                )
            await asyncio.sleep(min(0.25, lease_seconds / 4))

    @asynccontextmanager
    async def transaction(self, step: str) -> AsyncIterator[Connection]:
        """Give a transaction of this term for one step; `step` names it in fault points.

        Raises:
            TermLostError: the term is over; nothing was written.
        """
        async with self._database.transaction() as connection:
            if not await sql("lock_term").value(connection, **self._own):
                raise await self._lost(connection)
            fault_point(f"{step}.begun")
            yield connection
            fault_point(f"{step}.written")
        fault_point(f"{step}.committed")

    async def control(self) -> Control:
        """Return what operators ask of this scheduler.

        Raises:
            TermLostError: the term is over.
            SchemaVersionError: the schema was migrated meanwhile.
        """
        return await self._asked("requests")

    async def heartbeat(self) -> Control:
        """Record that this scheduler is alive; return what operators ask of it.

        Raises:
            TermLostError: the term is over.
            SchemaVersionError: the schema was migrated meanwhile.
        """
        return await self._asked("heartbeat")

    async def _asked(self, statement: str) -> Control:
        async with self._database.connection(seconds=self._short_seconds) as connection:
            row = await sql(statement).row(connection, **self._own)
            if row is None:
                raise await self._lost(connection)
        schema.require(row["revision"])
        return Control(row["paused"], row["drain"])

    async def release(self) -> None:
        """Give the term back, so that the next scheduler need not wait for the end of the lease."""
        async with self._database.transaction(seconds=self._short_seconds) as connection:
            await sql("release").execute(connection, **self._own)

    async def _lost(self, connection: Connection) -> TermLostError:
        newer = await sql("leader").one(connection)
        return TermLostError(
            f"term {self.number} of {self.holder} is over: {newer['holder']} holds term "
            f"{newer['term']}. This scheduler has stopped and writes nothing more"
        )
