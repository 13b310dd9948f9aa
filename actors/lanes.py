"""One lane of the scheduler: the state after its last turn, and the position of its scan."""

import asyncio
from enum import StrEnum
from math import inf

from revalue.actors.concurrency import now
from revalue.actors.progress import Progress
from revalue.actors.protocols import Steps
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.errors import RevalueError
from revalue.engine.stage.outlook import Outlook
from revalue.engine.stage.scan import PAGE_POSITIONS, Among, Scan
from revalue.engine.stage.stage import Staged


class LaneState(StrEnum):
    """What the last turn of a lane has found."""

    WORKING = "working"  # there may be more to do at once, or attempts are under way
    HELD = "held"  # staging waits until queued triggers have been fanned out (live lane only)
    LOCKED = "locked"  # what is left waits for locks of other database sessions
    IDLE = "idle"  # nothing is left that could be done now


class LaneWork:
    """The work of one lane. A lane takes its steps one after the other; the lanes run concurrently.

    Attributes:
        state: what its last turn has found; changed by `look_again` and `end_turn` only.
        wake: set when something may have changed in the database.
        is_held: staging waits for triggers in the present turn.
        held_since: since when triggers are queued that staging waits for (the event loop's clock).
        held_up: the steps that wait for locks of other database sessions.
        locked_calendars: the calendars that other sessions have locked, by the last pass of scans.
        staged_at: when it last staged something (the event loop's clock).
        turns_begun, turns_ended: counters, by which a caller sees that a whole turn has passed.
    """

    def __init__(self, lane: Lane, steps: Steps, progress: Progress) -> None:
        self.lane = lane
        self.state = LaneState.WORKING
        self.wake = asyncio.Event()
        self.is_held = False
        self.held_since: float | None = None
        self.held_up: set[str] = set()
        self.locked_calendars: frozenset[str] = frozenset()
        self.staged_at = -inf
        self.turns_begun = self.turns_ended = 0
        self._steps = steps
        self._progress = progress
        self._cursor = 0
        self._rest: Scan | None = None  # the part of the last page that exceeded the capacity
        self._ahead: Scan | None = None  # the page after the cursor, read while the last was staged
        # The calendars before the last pass over all positions that found nothing due.
        self._clean: str | None = None
        # Of the live lane: up to where its newest days are staged, without a scan, and the
        # calendars before that; those for which it is over.
        self._newest_cursor = 0
        self._newest: str | None = None
        self._newest_over: str | None = None
        # The present pass: its positions, the calendars before it, whether anything was found due
        # and anything staged, and what was left because of locks.
        self._among = Among.ALL
        self._calendars: str | None = None
        self._has_found = self._has_staged = False
        self._left = 0
        self._locked: frozenset[str] = frozenset()
        self._has_left = False  # all that the last pass found due is locked

    def begin_turn(self) -> None:
        """Count a turn."""
        self.turns_begun += 1

    def end_turn(self, *, worked: bool, is_busy: bool, is_locked: bool, is_paused: bool) -> None:
        """Enter the state that the turn has found.

        Args:
            worked: the turn has done something.
            is_busy: attempts of the lane are under way.
            is_locked: results that recovery has left are locked.
            is_paused: nothing is to be begun, whatever is left.
        """
        if worked or is_busy:
            self.state = LaneState.WORKING
        elif is_paused:
            self.state = LaneState.IDLE
        elif self.is_held:
            self.state = LaneState.HELD
        elif is_locked or self._has_left or self.held_up:
            self.state = LaneState.LOCKED
        else:
            self.state = LaneState.IDLE
        self.turns_ended = self.turns_begun

    def look_again(self) -> None:
        """Take a turn at once: the database may have changed."""
        self.state = LaneState.WORKING
        self.wake.set()

    def forget_scan(self) -> None:
        """Drop what was scanned; the next pass starts at the first position."""
        self._cursor, self._rest, self._ahead = 0, None, None

    def forget_passes(self) -> None:
        """Forget what is known to be due: the next pass is over all positions."""
        self.forget_scan()
        self._clean = self._newest_over = None
        self._newest_cursor = 0

    def may_have_due(self, outlook: Outlook) -> bool:
        """Whether positions of the lane may have due dates."""
        return self._is_midway() or self._where_to_look(outlook) is not None

    def _is_midway(self) -> bool:
        return self._rest is not None or self._cursor > 0

    def _where_to_look(self, outlook: Outlook) -> Among | None:
        """Return which positions to read for due dates; None: no position can have any.

        See docs/protocol.md: while the calendars are as they were before a pass that found nothing,
        only positions that are noted can have any, and those are in the history lane.
        """
        if outlook.calendars is None or outlook.calendars != self._clean:
            return Among.ALL
        if self.lane is Lane.HISTORY and outlook.has_unstaged:
            return Among.UNSTAGED
        return None

    async def stage(
        self, capacity: int, outlook: Outlook, *, leave_locked: bool = False
    ) -> tuple[bool, list[Task], int]:
        """Stage as much as fits into `capacity` tasks.

        Args:
            outlook: what there was to do at the beginning of the turn.
            leave_locked: leave positions that another session has locked. Otherwise wait for them.

        Returns:
            Whether it did anything; the tasks that it created, and the number of their jobs.
        """
        if capacity <= 0:
            return False, [], 0
        if not self._is_midway():
            among = self._where_to_look(outlook)
            if among is None:
                return False, [], 0
            if self._has_newest(outlook) and not leave_locked:
                return await self._stage_newest(capacity, outlook)
            self._among, self._calendars = among, outlook.calendars
            self._has_found = self._has_staged = False
            self._left, self._locked = 0, frozenset()
        is_whole = self._rest is None
        scanned = self._rest or self._ahead or await self._scan(self._cursor)
        self._rest = self._ahead = None
        if scanned.is_empty:
            self._cursor = 0
            return await self._end_pass(outlook), [], 0
        self._has_found = True
        staged, ahead = await asyncio.gather(
            self._stage_page(scanned, capacity, leave_locked=leave_locked),
            self._scan_ahead(scanned.next_cursor if is_whole else None),
        )
        self._rest = staged.rest
        if staged.rest is None:
            self._cursor, self._ahead = scanned.next_cursor or 0, ahead
        self._left += staged.left
        self._locked |= staged.locked_calendars
        if staged.left < staged.positions:
            self._has_staged = True
            self.staged_at = now()
        worked = self._is_midway() or await self._end_pass(outlook)
        return worked, staged.tasks, staged.spans

    def _has_newest(self, outlook: Outlook) -> bool:
        """Whether days may have been opened since the newest days were last staged."""
        return self.lane is Lane.LIVE and outlook.calendars not in (None, self._newest_over)

    async def _stage_newest(self, capacity: int, outlook: Outlook) -> tuple[bool, list[Task], int]:
        """Stage a page of positions whose newest days are due, before the pass over all of them."""
        if not self._newest_cursor:
            self._newest = outlook.calendars
        with self._progress.timed("stage"):
            staged = await self._steps.stage_newest(
                self._newest_cursor, page_positions=PAGE_POSITIONS, capacity=capacity
            )
        if staged.next_cursor is None:
            self._newest_over = self._newest
        self._newest_cursor = staged.next_cursor or 0
        if staged.spans:
            self.staged_at = now()
        return True, staged.tasks, staged.spans

    async def _end_pass(self, outlook: Outlook) -> bool:
        """Return whether to scan again at once: not if nothing was found, or all of it is locked.

        Passes follow each other until one finds nothing, because a pass can have skipped a
        position, or one can have become due behind the cursor.
        """
        self.locked_calendars = self._locked
        self._has_left = self._left > 0 and not self._has_staged
        if not self._has_found:
            if self._among is Among.ALL:
                self._clean = self._calendars
            if self.lane is Lane.HISTORY and outlook.has_unstaged:
                await self._steps.forget_staged()
        return self._has_found and not self._has_left

    async def _stage_page(self, scanned: Scan, capacity: int, *, leave_locked: bool) -> Staged:
        with self._progress.timed("stage"):
            return await self._steps.stage(
                scanned, self.lane, capacity=capacity, leave_locked=leave_locked
            )

    async def _scan(self, cursor: int) -> Scan:
        with self._progress.timed("scan"):
            return await self._steps.scan(
                self.lane, cursor, page_positions=PAGE_POSITIONS, among=self._among
            )

    async def _scan_ahead(self, cursor: int | None) -> Scan | None:
        """Read the page after the one that is being staged: neither waits for the other.

        Returns:
            None: there is no such page, or it could not be read. Whoever reads it again when it is
            its turn meets the error, and nothing of what was staged is lost to it.
        """
        if cursor is None:
            return None
        try:
            return await self._scan(cursor)
        except RevalueError:
            return None
