"""A lane stages one page of positions while it scans the next one; newest days without a scan."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import polars as pl
import pytest

from revalue.actors.lanes import LaneWork
from revalue.actors.progress import Progress
from revalue.actors.protocols import Steps
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.errors import DatabaseUnavailableError
from revalue.engine.stage.outlook import Outlook
from revalue.engine.stage.scan import Scan
from revalue.engine.stage.stage import Staged, StagedNewest

OUTLOOK = Outlook(has_triggers=False, has_unstaged=False, calendars="1 1", retry_in=None)
PAGES = 3


def page(number: int, *, positions: int = 2) -> Scan:
    """A page of two positions, by its number from 0; after the last one an empty one."""
    first = 2 * number + 1
    ids = [] if number >= PAGES else list(range(first, first + positions))
    frame = pl.DataFrame({"position_id": ids}, schema={"position_id": pl.Int64})
    return Scan(frame, frame, None if number >= PAGES else first + 1)


class RecordedSteps:
    """Scans the pages, and stages them whole.

    Attributes:
        scanned: the cursor of each scan; staged: the positions of each staged page.
        scanning: is called when a scan begins.
        fits: whether a page that is staged fits in the capacity.
        newest: the cursor of each page of which the newest days were staged.
    """

    def __init__(self) -> None:
        self.scanned: list[int] = []
        self.staged: list[list[int]] = []
        self.scanning: Callable[[int], None] = lambda _: None
        self.fits = True
        self.newest: list[int] = []
        self.next_page = asyncio.Event()

    async def scan(self, lane: Lane, cursor: int, **_: Any) -> Scan:
        self.scanned.append(cursor)
        self.next_page.set()
        self.scanning(cursor)
        return page(cursor // 2)

    async def stage(self, scan: Scan, lane: Lane, **_: Any) -> Staged:
        ids = scan.positions["position_id"].to_list()
        if self.scanned[-1] < ids[-1]:  # the page after this one has to be scanned meanwhile
            self.next_page.clear()
            await asyncio.wait_for(self.next_page.wait(), 5)
        self.staged.append(ids)
        task = Task(len(self.staged), ids[0], ids[-1], 1, 1, lane)
        rest = None if self.fits else page(ids[0] // 2, positions=1)
        return Staged([task], len(ids), 1, rest)

    async def stage_newest(self, cursor: int, **_: Any) -> StagedNewest:
        self.newest.append(cursor)
        task = Task(100 + len(self.newest), cursor + 1, cursor + 2, 2, 2, Lane.LIVE)
        return StagedNewest([task], 2, {1: 2}, cursor + 2 if cursor < 2 else None)


def lane_of(steps: RecordedSteps, lane: Lane = Lane.HISTORY) -> LaneWork:
    return LaneWork(lane, cast(Steps, steps), Progress(term=1))


async def test_the_next_page_is_scanned_while_one_is_staged() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps)
    for number in range(PAGES):
        worked, tasks, _ = await lane.stage(1, OUTLOOK)
        assert worked
        assert [task.first_position_id for task in tasks] == [2 * number + 1]
    assert steps.staged == [[1, 2], [3, 4], [5, 6]]
    assert steps.scanned == [0, 2, 4, 6]
    await lane.stage(1, OUTLOOK)
    assert steps.scanned == [0, 2, 4, 6], "the page that ends the pass was scanned before"


async def test_what_is_staged_is_not_lost_when_the_next_page_cannot_be_read() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps)

    def fail(cursor: int) -> None:
        if cursor == 2:
            raise DatabaseUnavailableError("away")

    steps.scanning = fail
    _, tasks, _ = await lane.stage(1, OUTLOOK)
    assert len(tasks) == 1
    with pytest.raises(DatabaseUnavailableError):
        await lane.stage(1, OUTLOOK)
    steps.scanning = lambda _: None
    await lane.stage(1, OUTLOOK)
    assert steps.staged == [[1, 2], [3, 4]]


async def test_a_page_behind_one_that_does_not_fit_is_scanned_when_it_is_its_turn() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps)
    steps.fits = False
    await lane.stage(1, OUTLOOK)
    assert steps.scanned == [0, 2]
    steps.fits = True
    steps.scanned.append(1_000)  # the rest is staged without a scan beside it
    await lane.stage(1, OUTLOOK)
    assert steps.scanned == [0, 2, 1_000]
    await lane.stage(1, OUTLOOK)
    assert steps.staged == [[1, 2], [1], [3, 4]]
    assert steps.scanned == [0, 2, 1_000, 2, 4]


async def test_a_new_pass_forgets_what_was_scanned_ahead() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps)
    await lane.stage(1, OUTLOOK)
    lane.forget_scan()
    await lane.stage(1, OUTLOOK)
    assert steps.staged == [[1, 2], [1, 2]]


async def test_the_newest_days_are_staged_without_a_scan_before_all_positions_are_scanned() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps, Lane.LIVE)
    for number in range(2):
        worked, tasks, spans = await lane.stage(1, OUTLOOK)
        assert (worked, spans, [task.task_id for task in tasks]) == (True, 2, [101 + number])
    assert (steps.newest, steps.scanned) == ([0, 2], [])
    await lane.stage(1, OUTLOOK)
    assert (steps.newest, steps.staged) == ([0, 2], [[1, 2]])


async def test_the_newest_days_are_staged_again_when_a_calendar_has_changed() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps, Lane.LIVE)
    opened = replace(OUTLOOK, calendars="1 2")
    await lane.stage(1, OUTLOOK)
    # What is opened meanwhile may be due of the positions of the first page.
    await lane.stage(1, opened)
    assert steps.newest == [0, 2]
    for cursors in ([0, 2, 0], [0, 2, 0, 2], [0, 2, 0, 2]):
        await lane.stage(1, opened)
        assert steps.newest == cursors
    assert steps.scanned[0] == 0


async def test_the_newest_days_are_staged_by_a_scan_where_positions_are_locked() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps, Lane.LIVE)
    await lane.stage(1, OUTLOOK, leave_locked=True)
    assert (steps.newest, steps.staged) == ([], [[1, 2]])


async def test_after_a_recovery_the_newest_days_are_looked_at_again() -> None:
    steps = RecordedSteps()
    lane = lane_of(steps, Lane.LIVE)
    await lane.stage(1, OUTLOOK)
    lane.forget_passes()
    await lane.stage(1, OUTLOOK)
    assert steps.newest == [0, 0]


async def test_history_is_always_scanned() -> None:
    steps = RecordedSteps()
    await lane_of(steps).stage(1, OUTLOOK)
    assert (steps.newest, steps.staged) == ([], [[1, 2]])
