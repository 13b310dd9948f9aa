"""One lane of the scheduler: the tasks that wait for an actor, how far the scan of owed dates has come, and what it found."""

import asyncio
from collections import deque
from math import inf
from time import monotonic

from revalue.actors.progress import Progress
from revalue.engine import metrics
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.settings import Settings
from revalue.engine.stage.stage import Scan, scan, stage

PAGE_POSITIONS = 20_000


class LaneWork:
    """What one lane has staged and not yet begun. Its moves are made one after the other, beside those of the other lane."""

    def __init__(
        self, lane: Lane, reader: ArrowReader, term: Term, settings: Settings, progress: Progress
    ) -> None:
        self.lane = lane
        self.reader = reader
        self.queue: deque[Task] = deque()
        self.wake = asyncio.Event()
        self.is_idle = self.is_held = False
        self.held_since: float | None = None
        self.staged_at = -inf
        self.turns_begun = self.turns_ended = 0
        self._term = term
        self._settings = settings
        self._progress = progress
        self._cursor = 0
        self._rest: Scan | None = None  # what the last page held and there was no room for
        self._is_unscanned = (
            True  # positions may owe something that no pass over all of them has found
        )

    def look_again(self) -> None:
        """Something may have changed in the database: the next turn begins a pass, at once."""
        self._is_unscanned, self.is_idle = True, False
        self.wake.set()

    def forget_scan(self) -> None:
        """What was scanned before is dropped, and the next pass begins at the first position."""
        self._is_unscanned = True
        self._cursor, self._rest = 0, None

    async def stage(self, capacity: int) -> tuple[bool, int]:
        """Stages what fits in `capacity` tasks; returns whether it did anything, and how many jobs were created."""
        if capacity <= 0:
            return False, 0
        if self._rest is None and self._cursor == 0:
            if not self._is_unscanned:
                return False, 0
            self._is_unscanned = False
        scanned, self._rest = self._rest or await self._scan(), None
        if scanned.positions.is_empty():
            # The end of a pass that did not begin at the first position: what came up behind the cursor is looked for now.
            began_behind, self._cursor = self._cursor > 0, 0
            return began_behind, 0
        self._is_unscanned = (
            True  # until a pass finds nothing: a position that was left alone is looked at again
        )
        task_rows = self._settings.task_rows
        with self._progress.timed("stage"):
            staged = await stage(
                self._term,
                scanned,
                self.lane,
                task_rows=task_rows,
                capacity_rows=capacity * task_rows,
            )
        self._rest = staged.rest
        if staged.rest is None:
            self._cursor = scanned.next_cursor or 0
        self.queue.extend(staged.tasks)
        self.staged_at = monotonic()
        return True, staged.jobs

    async def _scan(self) -> Scan:
        with self._progress.timed("scan"):
            scanned = await asyncio.to_thread(
                scan,
                self.reader,
                self.lane,
                self._cursor,
                page_positions=PAGE_POSITIONS,
                live_business_days=self._settings.live_business_days,
            )
        metrics.observe_gaps(scanned.ranges["rows"])
        return scanned
