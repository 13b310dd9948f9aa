"""What the server knows about database sessions whose answer this process waits for.

It knows who holds the locks that they wait for, and whether the question or the answer was lost on
the way, as with a proxy that hangs: then each side waits for the other. TCP does not notice that
(see liveness), and a time limit alone cannot distinguish it from a long statement.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import asyncpg

from revalue.engine import logs
from revalue.engine.errors import StatementCancelledError, WriteConflictError
from revalue.engine.postgres.blockers import Blocker, read_blockers
from revalue.engine.postgres.liveness import CONNECT_SECONDS
from revalue.engine.postgres.opening import Session, connect
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_log = logs.logger("database")

LOOK_SECONDS = 1.0
"""How often the server is asked, while an answer is awaited for longer than that."""

SILENT_SECONDS = 10.0
"""For so long each side has to wait for the other before an answer is considered lost."""

LOST = (
    f"it has not answered for {SILENT_SECONDS:g} s, in which it has not been at work either: "
    "a question or an answer was lost on the way"
)


class Awaited:
    """Since when an answer of one database session is awaited.

    Attributes:
        session: the session; None: not known, so that nothing can be asked about it.
        since: monotonic seconds; None: none is awaited at present.
        failed: since when the last one was awaited that was an error.
    """

    def __init__(self) -> None:
        self.session: Session | None = None
        self.since: float | None = None
        self.failed: float | None = None

    @contextmanager
    def answer(self) -> Iterator[None]:
        """Await an answer for the duration of the block."""
        self.since = since = monotonic()
        try:
            yield
        except BaseException:
            self.failed = since
            raise
        finally:
            self.since = None

    def awaits(self, seconds: float) -> bool:
        """Whether an answer has been awaited for so long."""
        since = self.since  # another thread may change it
        return since is not None and monotonic() - since >= seconds


class AwaitedConnection(asyncpg.Connection):
    """A connection that notes since when it awaits an answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.awaited = Awaited()

    def get_reset_query(self) -> str:
        """Return none: what the engine changes in a session ends with its transaction.

        That of asyncpg would reset the parameters that were set after connecting.
        """
        return ""

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """As that of asyncpg; transactions begin and end by it too."""
        with self.awaited.answer():
            return await super().execute(*args, **kwargs)

    async def fetch(self, *args: Any, **kwargs: Any) -> Any:
        """As that of asyncpg."""
        with self.awaited.answer():
            return await super().fetch(*args, **kwargs)

    async def fetchval(self, *args: Any, **kwargs: Any) -> Any:
        """As that of asyncpg."""
        with self.awaited.answer():
            return await super().fetchval(*args, **kwargs)

    async def fetchrow(self, *args: Any, **kwargs: Any) -> Any:
        """As that of asyncpg."""
        with self.awaited.answer():
            return await super().fetchrow(*args, **kwargs)

    async def copy_to_table(self, *args: Any, **kwargs: Any) -> Any:
        """As that of asyncpg."""
        with self.awaited.answer():
            return await super().copy_to_table(*args, **kwargs)


class Use:
    """One use of a session, from its first question to its last answer.

    Attributes:
        blockers: who holds the locks that it waited for when the server was last asked.
    """

    def __init__(self, awaited: Awaited, end: Callable[[], None]) -> None:
        """Create a use; `end` is called when an answer was lost."""
        self.awaited = awaited
        self.end = end
        self.blockers: list[Blocker] = []
        self.is_suspect = False
        self._last_met: tuple[float | None, list[Blocker]] = (None, [])

    def meet(self, since: float | None, blockers: list[Blocker]) -> None:
        """Note who holds the lock for which the answer awaited since then waits; empty: nobody."""
        self.blockers = blockers
        if blockers:
            self._last_met = (since, blockers)

    def named(
        self, error: WriteConflictError | StatementCancelledError
    ) -> WriteConflictError | StatementCancelledError:
        """Return the error, extended by who holds the lock that it waited for, if that is known."""
        since, blockers = self._last_met
        if not blockers or since != self.awaited.failed:
            return error
        holder = blockers[0]
        message = f"{error}. It waited for a lock that is held by {holder}. {holder.advice}"
        if isinstance(error, StatementCancelledError):
            return StatementCancelledError(message)
        return WriteConflictError(message, is_lock_timeout=error.is_lock_timeout)


class Witness:
    """Asks the server about the uses that take long, on a connection of its own.

    It has no connection while no use takes long.
    """

    def __init__(self, url: str, *, patience: float = math.inf, tells: bool = True) -> None:
        """Create a witness.

        Args:
            patience: longest wait of a statement for a lock, in seconds; in that time it asks
                several times.
            tells: log a warning when something waits for a lock.
        """
        self._url = url
        self._look_seconds = min(LOOK_SECONDS, patience / 6)
        self._tells = tells
        self._uses: set[Use] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    def begin(self, use: Use) -> None:
        """Watch over a use from now on."""
        self._uses.add(use)
        if self._timer is None and self._asking is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._look_seconds, self._begin_to_ask)

    def end(self, use: Use) -> None:
        """The use has ended."""
        self._uses.discard(use)
        if not self._uses:
            self.close()

    def close(self) -> None:
        """Stop asking."""
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
        self._timer = self._asking = None

    def blockers(self) -> list[Blocker]:
        """Return who holds the locks that the present uses wait for."""
        return list(dict.fromkeys(each for use in self._uses for each in use.blockers))

    def _begin_to_ask(self) -> None:
        self._timer = None
        self._asking = asyncio.create_task(self._keep_asking())

    async def _keep_asking(self) -> None:
        while True:
            # Whoever uses the connection meets the same error, and reports it.
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError):
                if self._slow_uses():
                    await self._ask_on_one_connection()
            await asyncio.sleep(self._look_seconds)

    async def _ask_on_one_connection(self) -> None:
        connection = await connect(self._url, application="revalue witness")
        try:
            while True:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._ask(connection)
                await asyncio.sleep(self._look_seconds)
        finally:
            connection.terminate()

    def _slow_uses(self) -> dict[Session, Use]:
        return {
            use.awaited.session: use
            for use in self._uses
            if use.awaited.session is not None and use.awaited.awaits(self._look_seconds / 2)
        }

    async def _ask(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        slow = self._slow_uses()
        since = {use: use.awaited.since for use in slow.values()}
        blockers = await read_blockers(connection, [pid for pid, _ in slow]) if slow else {}
        for use in self._uses:
            met = blockers.get(use.awaited.session.pid, []) if use.awaited.session else []
            if self._tells and met and not use.blockers:
                _log.warning("waits for a lock", held_by=str(met[0]), advice=met[0].advice)
            use.meet(since.get(use), met)
        await self._end_lost(connection, slow)

    async def _end_lost(
        self, connection: "asyncpg.Connection[asyncpg.Record]", slow: dict[Session, Use]
    ) -> None:
        """End the uses whose answer is lost.

        Each was suspected at the last look already: an answer that had arrived by then, while this
        process was busy or stopped, has been read since.
        """
        silent = {each: use for each, use in slow.items() if use.awaited.awaits(SILENT_SECONDS)}
        lost = {each: use for each, use in silent.items() if use.is_suspect}
        for use in silent.values():
            use.is_suspect = True
        if not lost:
            return
        rows = await connection.fetch(
            sql("end_lost_sessions").positional,
            [pid for pid, _ in lost],
            [began for _, began in lost],
            SILENT_SECONDS,
        )
        ended = {row["pid"] for row in rows}
        for session, use in lost.items():
            if session.pid in ended and use.awaited.awaits(SILENT_SECONDS):
                use.end()
