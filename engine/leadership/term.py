"""Leadership: terms are issued by the database, and every transaction of a scheduler begins by locking its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from revalue.engine.errors import LeaderActiveError, TermLostError
from revalue.engine.fault_injection import fault_point
from revalue.engine.postgres.backends import application_name, terminate_backends
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


@dataclass(frozen=True)
class Control:
    """paused: begin nothing new until resumed. drain: finish what is in flight, then end."""

    paused: bool
    drain: bool


class Leadership(Protocol):
    """What the steps of the protocol need of who runs them: a term, or a dry run."""

    number: int
    """The term's number, which jobs record; 0 in a dry run."""

    def transaction(self, step: str) -> AbstractAsyncContextManager[Connection]:
        """Give the transaction of one step; `step` names it in fault points.

        Raises:
            TermLostError: the term is over; nothing was written.
        """

    async def take_ids(self, connection: Connection, sequence: str, size: int) -> int:
        """Return the first of `size` consecutive ids that nobody else gets."""


class Term:
    """One scheduler's leadership. Its transactions fail with TermLostError once another scheduler has a newer term."""

    def __init__(self, database: Database, number: int, holder: str) -> None:
        self._database = database
        self._taking_ids = asyncio.Lock()
        self.number = number
        self.holder = holder

    @classmethod
    async def acquire(
        cls, database: Database, holder: str, *, lease_seconds: float, take_over: bool = False
    ) -> "Term":
        """A new term for `holder`. Waits for the lease of a leader that no longer speaks, then ends its database sessions:
        one that stands still inside a transaction would hold its term for ever.

        Raises LeaderActiveError when another holder is heard from while waiting; `take_over` does not wait for anybody.
        """
        heard = None
        while True:
            async with database.transaction() as connection:
                fault_point("acquire.begun")
                before = await sql("reclaimable_holder").row(
                    connection, holder=holder, lease_seconds=lease_seconds, take_over=take_over
                )
                if before is not None:
                    await terminate_backends(
                        connection, application_name("scheduler", before["holder"])
                    )
                number = await sql("acquire").value(
                    connection, holder=holder, lease_seconds=lease_seconds, take_over=take_over
                )
                fault_point("acquire.written")
                row = await connection.fetchrow(
                    """SELECT holder, term, heartbeat_at, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent
                       FROM scheduler_term"""
                )
            if number is not None:
                fault_point("acquire.committed")
                return cls(database, number, holder)
            assert row is not None
            if heard not in (None, (row["term"], row["heartbeat_at"])):
                raise LeaderActiveError(
                    f"scheduler {row['holder']} holds term {row['term']} and was alive {row['silent']:.1f} s ago: "
                    f"wait for it, stop it (`revalue drain`), or take over (it is fenced from then on)"
                )
            heard = (row["term"], row["heartbeat_at"])
            await asyncio.sleep(min(0.25, lease_seconds / 4))

    @asynccontextmanager
    async def transaction(self, move: str) -> AsyncIterator[Connection]:
        """A transaction of this term; `move` names it. Raises TermLostError, with nothing written, when the term is over."""
        async with self._database.transaction() as connection:
            if not await connection.fetchval(
                "SELECT true FROM scheduler_term WHERE term = $1 FOR KEY SHARE", self.number
            ):
                raise await self._lost(connection)
            fault_point(f"{move}.begun")
            yield connection
            fault_point(f"{move}.written")
        fault_point(f"{move}.committed")

    async def control(self) -> "Control":
        """What operators ask of this scheduler. Raises TermLostError."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                "SELECT paused_at IS NOT NULL AS paused, drain_term = term AS drain FROM scheduler_term WHERE term = $1",
                self.number,
            )
            if row is None:
                raise await self._lost(connection)
        return Control(paused=row["paused"], drain=bool(row["drain"]))

    async def heartbeat(self) -> None:
        """Says that this scheduler is alive. Raises TermLostError."""
        async with self._database.transaction() as connection:
            tag = await connection.execute(
                "UPDATE scheduler_term SET heartbeat_at = clock_timestamp() WHERE term = $1",
                self.number,
            )
            if tag == "UPDATE 0":
                raise await self._lost(connection)

    async def release(self) -> None:
        """Gives the term back, so that the next scheduler need not wait for the lease to end."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE scheduler_term SET holder = NULL WHERE term = $1", self.number
            )

    async def take_ids(self, connection: Connection, sequence: str, size: int) -> int:
        """The first of `size` consecutive ids that nobody else has. The term makes this process the sequence's only user;
        its two lanes come one after the other."""
        async with self._taking_ids:
            first: int = await connection.fetchval("SELECT nextval($1::regclass)", sequence)
            await connection.execute("SELECT setval($1::regclass, $2)", sequence, first + size)
        return first

    async def _lost(self, connection: Connection) -> TermLostError:
        newer = await connection.fetchrow("SELECT term, holder FROM scheduler_term")
        assert newer is not None
        return TermLostError(
            f"term {self.number} of {self.holder} is over: {newer['holder']} holds term {newer['term']}. "
            "This scheduler has stopped and writes nothing more"
        )


class DryRunTerm:
    """Runs steps without leadership, inside of a transaction that will be rolled back.

    A rollback does not return ids to a sequence, so the ids are negative: no stored job or task
    has such a one.
    """

    number = 0

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def transaction(self, step: str) -> AsyncIterator[Connection]:
        """Give the open transaction."""
        yield self._connection

    async def take_ids(self, connection: Connection, sequence: str, size: int) -> int:
        """Return the first of `size` consecutive negative ids."""
        return -size - 1
