"""What an idle scheduler asks, and which positions it looks at when something has changed."""

from collections.abc import Callable
from typing import Any

import pytest

from revalue.actors.loop import SchedulerLoop
from revalue.engine.core.lifecycle import Lane
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.fan_out import fan_out
from revalue.engine.operate.job_list import list_jobs
from revalue.engine.operate.status import retry_jobs
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement
from revalue.engine.stage import stage
from revalue.engine.stage.scan import Among, Scan, scan_page
from tests.faults.checks import assert_all_correct
from tests.support import (
    DAYS,
    dates,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
)

NOTED = "SELECT first_position_id, last_position_id FROM unstaged_positions ORDER BY 1"


def record_scans(loop: SchedulerLoop) -> list[tuple[Lane, Among, int]]:
    """Record each scan: the lane, among which positions, and how many were found."""
    scans: list[tuple[Lane, Among, int]] = []
    real = loop._steps.scan

    async def scan(lane: Lane, cursor: int, **how: Any) -> Scan:
        found = await real(lane, cursor, **how)
        scans.append((lane, how["among"], len(found.positions)))
        return found

    loop._steps.scan = scan  # type: ignore[method-assign]
    return scans


async def test_an_idle_turn_asks_two_statements_however_many_positions_there_are(
    url: str, database: Database
) -> None:
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await running.settle()
        scans, sent = record_scans(running.loop), Statement.sent
        running.loop.wake()
        assert not await running.loop.run_once()
        assert Statement.sent - sent == 2 * len(Lane)
        assert not scans
        assert running.loop.progress.idle


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(
            lambda database: execute(
                database, "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'"
            ),
            [],
            id="a price: the fan-out stages what it invalidates",
        ),
        pytest.param(
            lambda database: load(database, Kind.POSITIONS, facts("P2", "A", {DAYS[3]: "5"})),
            [(Lane.HISTORY, Among.UNSTAGED, 1), (Lane.HISTORY, Among.UNSTAGED, 0)],
            id="a record of one position",
        ),
        pytest.param(
            lambda database: load(database, Kind.POSITIONS, facts("P9", "A", {DAYS[3]: "5"})),
            [(Lane.HISTORY, Among.UNSTAGED, 1), (Lane.HISTORY, Among.UNSTAGED, 0)],
            id="a new position",
        ),
        pytest.param(
            lambda database: load(database, Kind.POSITIONS, facts("P2", "A", {DAYS[-1]: "5"})),
            [],
            id="a record after the horizon",
        ),
        pytest.param(
            lambda database: open_calendars(database, DAYS[-2]),
            [(Lane.HISTORY, Among.ALL, 0), (Lane.LIVE, Among.ALL, 0)],
            id="an opened day: it is staged without a scan",
        ),
    ],
)
async def test_only_positions_that_can_owe_something_are_looked_at(
    url: str,
    database: Database,
    change: Callable[[Database], Any],
    found: list[tuple[Lane, Among, int]],
) -> None:
    await load_small_book(database, days=DAYS[:-2])
    await load(database, Kind.BUSINESS_DATES, dates(DAYS[-2:]))
    await execute(database, "INSERT INTO portfolios VALUES ('P9', 'USD', 'CAL')")
    async with engine(url) as running:
        await running.settle()
        scans = record_scans(running.loop)
        await change(database)
        await running.settle()
        assert sorted(scans) == sorted(found)
        assert await fetch(database, NOTED) == []


async def test_holes_that_an_operator_makes_due_are_noted(url: str, database: Database) -> None:
    await load_small_book(database)
    await execute(database, "DELETE FROM market_prices WHERE price_date > $1", DAYS[4])
    async with engine(url) as running:
        await running.settle()
        scans = record_scans(running.loop)
        await retry_jobs(database, [job["job_id"] for job in await list_jobs(database, limit=100)])
        assert [tuple(row) for row in await fetch(database, NOTED)] == [(1, 6)]
        await running.settle()
        assert {among for _, among, _ in scans} == {Among.UNSTAGED}


async def test_the_neighbours_of_a_noted_position_are_not_read(
    url: str, database: Database
) -> None:
    """A page of positions that lie far apart reads their rows, and not the table."""
    await load_small_book(database, portfolios=30)
    async with engine(url) as running:
        await running.settle()
        for portfolio in ("P1", "P15", "P30"):
            await load(
                database, Kind.POSITIONS, facts(portfolio, "A", {DAYS[3]: "5"}), replace=True
            )
        scanned = scan_page(
            running.reader,
            Lane.HISTORY,
            0,
            page_positions=2,
            live_business_days=5,
            among=Among.UNSTAGED,
        )
        noted = [row[0] for row in await fetch(database, NOTED)]
        assert scanned.positions["position_id"].to_list() == noted[:2]
        assert scanned.next_cursor == noted[1]
        assert scanned.ranges.select("first_date", "last_date").rows() == [(DAYS[3], DAYS[-1])] * 2


async def test_what_is_noted_while_the_staged_are_forgotten_stays(
    url: str, database: Database
) -> None:
    """A record is loaded: its transaction is open when everything that is seen is staged."""
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        async with database.transaction() as connection:
            await connection.execute(
                "UPDATE position_state SET epoch = epoch + 1, revision = revision + 1 "
                "WHERE position_id = 3"
            )
            await connection.execute("INSERT INTO unstaged_positions VALUES (DEFAULT, 3, 3)")
            await stage.forget_staged(running.term)
        assert [tuple(row) for row in await fetch(database, NOTED)] == [(3, 3)]
        await stage.forget_staged(running.term)
        assert [tuple(row) for row in await fetch(database, NOTED)] == [(3, 3)]
        await running.settle()
        assert await fetch(database, NOTED) == []


async def test_positions_of_a_calendar_that_is_not_opened_are_not_noted_for_ever(
    url: str, database: Database
) -> None:
    await load_small_book(database)
    await execute(database, "INSERT INTO calendars (calendar_id) VALUES ('SHUT')")
    await execute(database, "INSERT INTO business_dates VALUES ('SHUT', $1)", DAYS[0])
    await execute(database, "INSERT INTO portfolios VALUES ('P9', 'USD', 'SHUT')")
    async with engine(url) as running:
        await load(database, Kind.POSITIONS, facts("P9", "A", {DAYS[0]: "5"}))
        await running.settle()
        assert await fetch(database, NOTED) == []
        await open_calendars(database, DAYS[0], ["SHUT"])
        await running.settle()
    assert await fetch(
        database, "SELECT count(*) FROM position_valuations WHERE portfolio_id = 'P9'"
    ) == [(1,)]


QUEUED = (
    "SELECT kind, security_id FROM reprocessing_triggers WHERE fanned_out_at IS NULL ORDER BY 2"
)
TOMORROW = f"INSERT INTO market_prices VALUES ('A', '{DAYS[-1]}', 7, 'USD', 'PER_UNIT')"
YESTERDAY = "UPDATE market_prices SET price = price + 1 WHERE security_id = 'B'"
NOT_HELD = (
    "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
    "VALUES ('C', 'USD', 3)",
    f"INSERT INTO market_prices VALUES ('C', '{DAYS[3]}', 7, 'USD', 'PER_UNIT')",
)
BACK = f"UPDATE calendars SET opened_through = '{DAYS[-4]}'"


@pytest.mark.parametrize(
    ("writes", "left"),
    [
        pytest.param([TOMORROW], [], id="the price of a day that is not opened"),
        pytest.param(NOT_HELD, [], id="the price of a security that nobody holds"),
        pytest.param([TOMORROW, *NOT_HELD, YESTERDAY], [("PRICE", "B")], id="with a correction"),
        pytest.param([BACK, TOMORROW], [("PRICE", "A"), ("CALENDAR", None)], id="a day is closed"),
    ],
)
async def test_triggers_that_reach_nothing_are_ended_in_one_statement(
    url: str, database: Database, writes: list[str], left: list[tuple[str, str]]
) -> None:
    """A page has one position: paged through, the six positions would take six transactions."""
    await load_small_book(database, days=DAYS[:-2])
    await load(database, Kind.BUSINESS_DATES, dates(DAYS[-2:]))
    async with engine(url) as running:
        await running.settle()
        before = len(await fetch(database, "SELECT trigger_id FROM reprocessing_triggers"))
        for write in writes:
            await execute(database, write)
        step = await fan_out.fan_out(running.term, max_positions=1)
        assert step is not None
        written = await fetch(database, "SELECT trigger_id FROM reprocessing_triggers")
        assert step.triggers == len(written) - before
        assert step.finished == (not left)
        assert [tuple(row) for row in await fetch(database, QUEUED)] == left
        await running.settle()
    await assert_all_correct(database)


async def test_what_is_loaded_before_anything_is_scheduled_is_ended_at_once(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=10)
    async with engine(url) as running:
        assert await fetch(database, QUEUED) != []
        step = await fan_out.fan_out(running.term, max_positions=1)
        assert step is not None
        assert (step.finished, step.positions_invalidated) == (True, 0)
        assert await fetch(database, QUEUED) == []
        await running.settle()
    await assert_all_correct(database)
