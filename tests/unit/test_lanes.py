"""A lane stages one page of positions while it scans the next one."""

import asyncio
from collections.abc import Callable
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
from revalue.engine.stage.stage import Scan, Staged

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
    """

    def __init__(self) -> None:
        self.scanned: list[int] = []
        self.staged: list[list[int]] = []
        self.scanning: Callable[[int], None] = lambda _: None
        self.fits = True
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


def lane_of(steps: RecordedSteps) -> LaneWork:
    return LaneWork(Lane.LIVE, cast(Steps, steps), Progress(term=1))


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
