"""Maintain the lake without being asked, while the scheduler has nothing to do."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from revalue.actors.concurrency import arrives_within
from revalue.engine import logs
from revalue.engine.errors import AccessDeniedError, RevalueError, WriteConflictError
from revalue.engine.lake.maintain import Maintained

_log = logs.logger("scheduler")


class Rester(Protocol):
    """Says when there is nothing to do: the scheduler's loop."""

    def is_resting(self) -> bool:
        """Whether there is nothing to do now."""

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Wait until the condition is true; return False when there are no more turns."""


Maintain = Callable[[Callable[[Maintained], None]], Awaitable[Maintained]]
"""Maintains the lake; calls the function after each step, which may raise to end it."""


class _WorkCameError(Exception):
    """The scheduler has something to do again."""


class Upkeep:
    """Maintains the lake once after each period of work.

    A lake that nothing was written to needs no maintenance, so an idle scheduler looks once, and
    not again before it has worked. When work arrives, the file in progress is finished first, in a
    thread, and the scheduler continues meanwhile.
    """

    def __init__(self, loop: Rester, maintain: Maintain, *, rest_seconds: float) -> None:
        """Create it.

        Args:
            rest_seconds: how long the scheduler has to be idle before maintenance begins.
        """
        self._loop = loop
        self._maintain = maintain
        self._rest_seconds = rest_seconds

    async def run(self) -> None:
        """Maintain until there are no more turns, or until it shows that this user may not."""
        while await self._loop.until(self._loop.is_resting):
            if await arrives_within(self._until_work, self._rest_seconds):
                continue
            try:
                done = await self._maintain(self._go_on)
            except (_WorkCameError, WriteConflictError):  # or another maintenance is at work
                continue
            except AccessDeniedError as error:
                _log.warning("the lake is not maintained by itself", trouble=str(error))
                return
            except RevalueError as error:
                _log.warning("the lake could not be maintained", trouble=str(error))
            except Exception:  # no error of a merge ends the maintenance for good
                _log.exception("the lake could not be maintained")
            else:
                _log.info(
                    "the lake is maintained",
                    files_merged=done.files_merged,
                    files_made=done.files_made,
                    rows_moved=done.rows_moved,
                    rows_dropped=done.rows_dropped,
                )
            await self._until_work()

    async def _until_work(self) -> None:
        await self._loop.until(lambda: not self._loop.is_resting())

    def _go_on(self, _: Maintained) -> None:
        if not self._loop.is_resting():
            raise _WorkCameError
