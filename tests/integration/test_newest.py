"""The newest days are staged without a scan: as a scan and its staging do it, or not at all."""

import asyncio
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest

from revalue.engine.core.lifecycle import Lane
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction, rolled_back
from revalue.engine.stage import stage
from revalue.engine.stage.scan import scan_page
from tests.support import DAYS, Engine, engine, execute, facts, fetch, load_small_book, open_days

NEW = [DAYS[-1] + timedelta(days=n) for n in (3, 4, 5)]
LIVE_DAYS = 5
SPANS = """SELECT position_id, epoch, first_date, last_date, trigger_id, lane, status
           FROM job_spans WHERE is_open AND term = $1 ORDER BY 1, 3"""
STATES = """SELECT position_id, epoch, staged_epoch, revision, published_epoch, frontier_date,
                pending::text, published_open_dates::text, published_hidden::text
            FROM position_state ORDER BY 1"""


async def stage_newest(term: Term, cursor: int = 0, **given: int) -> stage.StagedNewest:
    how = {
        "page_positions": 100,
        "task_rows": 100,
        "capacity_rows": 1000,
        "live_business_days": LIVE_DAYS,
        **given,
    }
    return await stage.stage_newest(term, cursor, **how)


async def load_book(running: Engine, database: Database) -> None:
    """Twelve positions, of which some are closed on new days, or open twice, or behind by a day."""
    await load_small_book(database, portfolios=6)
    for portfolio, held in (
        ("P1", {DAYS[3]: "0"}),
        ("P2", {NEW[0]: "0"}),
        ("P3", {NEW[1]: "0"}),
        ("P4", {DAYS[3]: "0", NEW[1]: "5"}),
        ("P5", {DAYS[5]: "0", DAYS[9]: "5"}),
        ("P6", {NEW[1]: "0"}),
    ):
        await load(database, Kind.POSITIONS, facts(portfolio, "A", held))
    await running.settle()
    await open_days(database, NEW[:1])
    await stage_newest(running.term, capacity_rows=4)
    await open_days(database, NEW)


async def found(term: Term, connection: Any) -> tuple[list[Any], dict[int, Any]]:
    spans = [tuple(row) for row in await connection.fetch(SPANS, term.number)]
    return spans, {row[0]: tuple(row) for row in await connection.fetch(STATES)}


async def test_it_stages_what_a_scan_would_and_leaves_the_rest(
    url: str, database: Database
) -> None:
    async with engine(url) as running:
        await load_book(running, database)
        scanned = scan_page(
            running.reader, Lane.LIVE, 0, page_positions=100, live_business_days=LIVE_DAYS
        )
        number, holder = running.term.number, running.term.holder
        async with database.connection() as connection:
            _, before = await found(running.term, connection)
        async with rolled_back(database) as one, one.connection() as connection:
            term = Term(one, number, holder)
            staged = await stage.stage(term, scanned, Lane.LIVE, task_rows=4, capacity_rows=1000)
            by_scan, after_scan = await found(term, connection)
        async with rolled_back(database) as one, one.connection() as connection:
            term = Term(one, number, holder)
            newest = await stage_newest(term, task_rows=4)
            spans, after = await found(term, connection)
    assert newest.next_cursor is None
    assert newest.spans == sum(task.spans for task in newest.tasks) < staged.spans
    assert {task.rows for task in newest.tasks} > {4}
    assert set(spans) < set(by_scan)
    taken = {number for number, state in after.items() if state != before[number]}
    # Two days are due of the four that were staged before: one is closed by then, one ends between.
    # Three days are due of the others, but for one that ends between.
    assert newest.days == {2: 4 - 2, 3: 8 - 1}
    assert len(taken) == sum(newest.days.values())
    assert all(after[number] == after_scan[number] for number in taken)
    # Left: on P2 nothing is due, on P3 and P6 not each of the days.
    assert {number for number in after_scan if after_scan[number] != before[number]} - taken == {
        2,
        3,
        6,
    }
    assert {span[0] for span in by_scan if span not in spans} == {3, 6}


@pytest.mark.parametrize(("capacity_rows", "first"), [(1, 1), (5, 2), (7, 3)])
async def test_it_stages_no_more_than_there_is_capacity_for(
    url: str, database: Database, capacity_rows: int, first: int
) -> None:
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, NEW[:2])
        cursor: int | None = 0
        pages: list[stage.StagedNewest] = []
        while cursor is not None:
            pages.append(await stage_newest(running.term, cursor, capacity_rows=capacity_rows))
            cursor = pages[-1].next_cursor
    assert pages[0].spans == first
    assert sum(page.spans for page in pages) == 6
    spans = await fetch(database, "SELECT DISTINCT position_id FROM job_spans WHERE is_open")
    assert len(spans) == 6


async def test_a_date_is_not_closed_while_positions_are_staged_onto_it(
    url: str, database: Database
) -> None:
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, NEW[:1])
        async with database.transaction() as connection, database.connection() as writer:
            term = Term(OpenTransaction(connection), running.term.number, running.term.holder)
            assert (await stage_newest(term)).spans == 6
            await writer.execute("SET lock_timeout = '200ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await writer.execute("DELETE FROM business_dates WHERE business_date = $1", NEW[0])


async def test_the_positions_of_a_locked_calendar_are_left(url: str, database: Database) -> None:
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, NEW[:1])
        async with database.transaction() as writer:
            await writer.execute("SELECT FROM calendars FOR UPDATE")
            assert await stage_newest(running.term) == stage.StagedNewest([], 0, {}, None)
        assert (await stage_newest(running.term)).spans == 6


@pytest.mark.parametrize(
    ("change", "spans"),
    [
        ("epoch = epoch + 1, revision = revision + 1", 5),
        ("open_dates = open_dates * '{(,2024-01-28)}', revision = revision + 1", 5),
        ("withdrawn = '{}'", 6),
    ],
)
async def test_a_position_is_judged_by_the_row_that_is_locked(
    url: str, database: Database, change: str, spans: int
) -> None:
    """Another transaction changes it after the statement has begun, and commits first."""
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, NEW[:1])
        async with database.transaction() as writer:
            await writer.execute(f"UPDATE position_state SET {change} WHERE position_id = 3")
            staging = asyncio.create_task(stage_newest(running.term))
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype <> 'relation'"
            async with asyncio.timeout(20), database.connection() as watcher:
                while not await watcher.fetchval(waits):
                    await asyncio.sleep(0.02)
            assert not staging.done()
        assert (await staging).spans == spans


async def test_with_few_business_days_nothing_is_in_the_live_lane(
    url: str, database: Database
) -> None:
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, NEW[:1])
        days = len(DAYS) + 1
        none = await stage_newest(running.term, live_business_days=days)
        assert none == stage.StagedNewest([], 0, {}, None)
        assert (await stage_newest(running.term, live_business_days=days - 1)).spans == 6


async def test_a_frontier_that_is_no_business_day_is_left_for_the_scan(
    url: str, database: Database
) -> None:
    await load_small_book(database)
    await open_days(database, [DAYS[-1] + timedelta(days=1)])
    saturday: date = DAYS[-1] + timedelta(days=1)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, NEW[:1])
        # Without the trigger that would withdraw it first.
        await execute(database, "DELETE FROM business_dates WHERE business_date = $1", saturday)
        await execute(database, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
        assert (await stage_newest(running.term)).spans == 0
        scanned = scan_page(
            running.reader, Lane.LIVE, 0, page_positions=100, live_business_days=LIVE_DAYS
        )
        assert len(scanned.positions) == 6
