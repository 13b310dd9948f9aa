"""One lane of the scheduler: its queue of tasks, and how far its scan of due dates has come."""

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
from revalue.engine.stage.stage import PAGE_POSITIONS, Scan, scan, stage


class LaneWork:
    """The work of one lane: tasks that are staged and not started, and the state of its scan.

    A lane takes its steps one after the other; the two lanes run concurrently.

    Attributes:
        queue: tasks that wait for an actor.
        wake: set when something may have changed in the database.
        is_idle: the last turn did nothing, and nothing of the lane is in flight or waits.
        is_held: staging waits until queued triggers have been fanned out.
        held_up: the steps that wait for locks of other database sessions.
        has_left: all that is due is locked by other database sessions.
        locked_calendars: the calendars that other sessions have locked, by the last pass of scans.
        held_since: since when it waits (monotonic seconds), or None.
        staged_at: when it last staged something (monotonic seconds).
        turns_begun, turns_ended: counters, by which a caller sees that a whole turn has passed.
    """

    def __init__(
        self, lane: Lane, reader: ArrowReader, term: Term, settings: Settings, progress: Progress
    ) -> None:
        self.lane = lane
        self.reader = reader
        self.queue: deque[Task] = deque()
        self.wake = asyncio.Event()
        self.is_idle = self.is_held = False
        self.held_since: float | None = None
        self.held_up: set[str] = set()
        self.has_left = False
        self.locked_calendars: frozenset[str] = frozenset()
        self.staged_at = -inf
        self.turns_begun = self.turns_ended = 0
        self._term = term
        self._settings = settings
        self._progress = progress
        self._cursor = 0
        self._rest: Scan | None = None  # the part of the last page that exceeded the capacity
        # Whether positions may have due dates that no pass over all of them has found.
        self._is_unscanned = True
        # Of the present pass: whether anything was staged, and what was left because of locks.
        self._has_staged = False
        self._left = 0
        self._locked: frozenset[str] = frozenset()

    def look_again(self) -> None:
        """Start a new pass over all positions, at once: the database may have changed."""
        self._is_unscanned, self.is_idle = True, False
        self.wake.set()

    def forget_scan(self) -> None:
        """Drop what was scanned; the next pass starts at the first position."""
        self._is_unscanned = True
        self._cursor, self._rest = 0, None

    async def stage(self, capacity: int, *, leave_locked: bool = False) -> tuple[bool, int]:
        """Stage as much as fits into `capacity` tasks.

        Args:
            leave_locked: leave positions that another session has locked. Otherwise wait for them.

        Returns:
            Whether it did anything, and how many jobs it created.
        """
        if capacity <= 0:
            return False, 0
        if self._rest is None and self._cursor == 0:
            if not self._is_unscanned:
                return False, 0
            self._is_unscanned = False
            self._has_staged, self._left, self._locked = False, 0, frozenset()
        scanned, self._rest = self._rest or await self._scan(), None
        if scanned.positions.is_empty():
            # A pass that did not start at the first position has ended: scan again from there, for
            # what has become due behind the cursor.
            started_midway, self._cursor = self._cursor > 0, 0
            return self._end_pass() and started_midway, 0
        # Until a pass finds nothing: a position that was skipped has to be scanned again.
        self._is_unscanned = True
        task_rows = self._settings.task_rows
        with self._progress.timed("stage"):
            staged = await stage(
                self._term,
                scanned,
                self.lane,
                task_rows=task_rows,
                capacity_rows=capacity * task_rows,
                leave_locked=leave_locked,
            )
        self._rest = staged.rest
        if staged.rest is None:
            self._cursor = scanned.next_cursor or 0
        self.queue.extend(staged.tasks)
        self._left += staged.left
        self._locked |= staged.locked_calendars
        if staged.left < staged.positions:
            self._has_staged = True
            self.staged_at = monotonic()
        is_last = self._rest is None and self._cursor == 0
        return self._end_pass() if is_last else True, staged.jobs

    def _end_pass(self) -> bool:
        """Return whether to scan again at once: not if all that is due is locked."""
        self.locked_calendars = self._locked
        self.has_left = self._left > 0 and not self._has_staged
        return not self.has_left

    async def _scan(self) -> Scan:
        with self._progress.timed("scan"):
            scanned = await self.reader.run(
                scan,
                self.lane,
                self._cursor,
                page_positions=PAGE_POSITIONS,
                live_business_days=self._settings.live_business_days,
            )
        metrics.observe_gaps(scanned.ranges["rows"])
        return scanned
