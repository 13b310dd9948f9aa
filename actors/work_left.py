"""How much of a run is left: read from the database now and then, concurrently with the run."""

import asyncio
import threading
import time

from revalue.engine.errors import RevalueError
from revalue.engine.operate.eta import remaining
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

_FIRST_SECONDS = 1.0  # a run that ends before is not asked for
_PAUSE_SECONDS = 10.0
_SHARE = 20  # for a large book the answer takes seconds: asking takes at most 1/20 of the time


class WorkLeft:
    """The position-days that a run still has to write, about.

    The database knows what is due, but not what a queued correction will make due; so it is asked
    again, and what was written since is subtracted meanwhile.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._known: tuple[int, int] | None = None  # written when it was asked, and due then
        self._thread: threading.Thread | None = None
        self._next = time.monotonic() + _FIRST_SECONDS

    def of(self, written: int) -> int | None:
        """Return how many are left, without waiting for the database; None: it is not known.

        Args:
            written: position-days that the run has written by now.
        """
        is_asking = self._thread is not None and self._thread.is_alive()
        if not is_asking and time.monotonic() >= self._next:
            self._thread = threading.Thread(
                target=self._ask, args=(written,), name="work left", daemon=True
            )
            self._thread.start()
        if self._known is None:
            return None
        then, due = self._known
        return max(0, due - (written - then)) or None

    def _ask(self, written: int) -> None:
        begun = time.monotonic()
        try:
            self._known = written, asyncio.run(self._due())
        except (RevalueError, OSError):  # the run says what is wrong
            self._known = None
        self._next = time.monotonic() + max(_PAUSE_SECONDS, _SHARE * (time.monotonic() - begun))

    async def _due(self) -> int:
        async with await Database.open(
            self._url, connections=1, application="revalue progress", tells_of_locks=False
        ) as database:
            return (await remaining(database, self._settings)).remaining_position_days
