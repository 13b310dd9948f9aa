"""What the database tells the scheduler: commits, what operators ask for, the end of its term.

Notifications tell of commits. The answers to heartbeats tell the rest.
"""

import asyncio
from collections.abc import Callable

from revalue.actors.protocols import Steps
from revalue.engine import logs
from revalue.engine.errors import (
    DatabaseUnavailableError,
    RevalueError,
    TermLostError,
    TransientError,
)
from revalue.engine.leadership.term import Control
from revalue.engine.settings import Settings

_log = logs.logger("scheduler")


class DatabaseWatch:
    """Listens and sends heartbeats, beside the lanes.

    Attributes:
        is_listening: nothing is committed without a notification.
    """

    def __init__(
        self,
        steps: Steps,
        settings: Settings,
        *,
        wake: Callable[[], None],
        is_away: Callable[[], bool],
    ) -> None:
        """Create a watch.

        Args:
            wake: is called when the loop has a reason to look for work.
            is_away: returns whether the loop itself cannot reach the database, and has said so.
        """
        self._steps = steps
        self._settings = settings
        self._wake = wake
        self._is_away = is_away
        self.is_listening = False
        self._is_cut_off = False  # the server may have been replaced since the last recovery

    async def listen(self) -> None:
        """Wake the loop at every commit of data, until cancelled.

        While no notifications arrive, polling finds the commits. When the session that listens is
        lost, the loop recovers.
        """
        failures = 0
        while True:
            try:
                async with self._steps.listening(self._wake) as lost:
                    failures = 0
                    self.is_listening = True
                    self._wake()
                    await lost.wait()
                self.is_listening, self._is_cut_off = False, True
                self._wake()
            except TermLostError:
                raise
            except RevalueError as error:
                failures += 1
                # When the database is away, the loop meets it too, and reports it.
                is_transient = isinstance(error, TransientError)
                if failures == (2 if is_transient else 1) and not self._is_away():
                    _log.warning(
                        "cannot listen for changes; they are found by looking for them every "
                        f"{self._settings.poll_seconds:g} s, and listening is tried again",
                        trouble=str(error),
                        term=self._steps.term,
                    )
            await asyncio.sleep(self._settings.poll_seconds)

    async def beat(self) -> None:
        """Send heartbeats, and wake the loop if their answer concerns it.

        Raises TermLostError once another scheduler leads.
        """
        seen: Control | None = None
        while True:
            try:
                asked = await self._steps.heartbeat()
            except TransientError:
                self._wake()  # the loop meets it too, and reports it
            else:
                if asked != seen:
                    seen = asked
                    self._wake()
            await asyncio.sleep(self._settings.lease_seconds / 4)

    def recovering(self) -> None:
        """Note that a recovery begins: it finds what was lost when the session was cut off."""
        self._is_cut_off = False

    def require_not_cut_off(self) -> None:
        """Raise a transient error once the listener's session was lost: its end is recovery.

        A pool opens its other connections anew without a word. So an idle scheduler may have no
        other sign that its server was replaced by one without the last commits.
        """
        if self._is_cut_off:
            raise DatabaseUnavailableError("the database session that listens for changes was lost")
