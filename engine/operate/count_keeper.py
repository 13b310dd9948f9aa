"""The last count of positions, for all who ask in one process."""

import asyncio
from time import monotonic

from revalue.engine import logs
from revalue.engine.errors import RevalueError
from revalue.engine.operate.kept_counts import FEW_POSITIONS, SHARE, shared_counts
from revalue.engine.operate.position_counts import PositionCounts
from revalue.engine.postgres.database import Connections
from revalue.engine.settings import Settings

_log = logs.logger("counts")


class CountKeeper:
    """The last count, for all who ask in this process.

    Args:
        settings: count the work that is left with these; None: do not count it.
        few_positions: so many positions are counted for every question.
        share: more are counted so seldom that it takes this share of the time.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        few_positions: int = FEW_POSITIONS,
        share: float = SHARE,
    ) -> None:
        self._settings, self._few_positions, self._share = settings, few_positions, share
        self._last: PositionCounts | None = None
        self._began = 0.0
        self._counting: asyncio.Task[PositionCounts] | None = None

    async def counts(self, database: Connections) -> PositionCounts:
        """Return the last count.

        One that is due is made in the background. It is waited for if it is the first or of few
        positions, or if nobody has asked for long. All who ask meanwhile share it.

        Raises:
            RevalueError: nothing was counted yet, and it fails.
        """
        last, age, pause = self._last, monotonic() - self._began, self._pause()
        if last is not None and age < pause:
            return last
        if self._counting is None:
            self._counting = asyncio.create_task(self._count(database))
            self._counting.add_done_callback(self._counted)
        if last is None or not pause or age > 3 * pause + 1:
            return await asyncio.shield(self._counting)
        return last

    async def close(self) -> None:
        """End a count that is being made."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait([self._counting])

    def _pause(self) -> float:
        """The time from the beginning of one count to that of the next."""
        last = self._last
        is_few = last is None or last.total <= self._few_positions
        return 0.0 if last is None or is_few else last.seconds / self._share

    async def _count(self, database: Connections) -> PositionCounts:
        began = monotonic()
        try:
            self._last = await shared_counts(
                database,
                self._settings,
                last=self._last,
                few_positions=self._few_positions,
                share=self._share,
            )
        finally:
            self._began = began
        return self._last

    def _counted(self, task: "asyncio.Task[PositionCounts]") -> None:
        self._counting = None
        if not task.cancelled() and isinstance(error := task.exception(), RevalueError):
            _log.warning("positions cannot be counted", reason=str(error))
