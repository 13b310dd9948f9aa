"""Errors at every point, in this process: connections lost before and after a commit, conflicts,
and unexpected errors."""

import asyncio
from pathlib import Path

import pytest

from revalue.engine import fault_injection
from revalue.engine.operate.status import list_failed_jobs, retry_jobs
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory
from tests.faults.checks import assert_all_correct
from tests.support import (
    DAYS,
    SETTINGS,
    engine,
    execute,
    fetch,
    has_dead_letters,
    is_current,
    load_small_book,
    settle_until,
    until,
    until_current,
)

SCHEDULER_POINTS = [
    point
    for point in fault_injection.POINTS
    if not point.startswith(("acquire", "value", "recover"))
]
VALUE_POINTS = [point for point in fault_injection.POINTS if point.startswith("value")]


@pytest.fixture
def armory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Armory:
    monkeypatch.setattr(fault_injection, "_FOLDER", str(tmp_path))
    return Armory(tmp_path)


async def run_until_current(running, database: Database) -> None:  # type: ignore[no-untyped-def]
    """Run the loop, as in service, until every position is current."""
    work = asyncio.create_task(running.loop.run())
    await until_current(running, database, work)
    running.loop.stop()
    await asyncio.wait_for(work, 30)


@pytest.mark.parametrize("action", ["LOSE", "CONFLICT"])
@pytest.mark.parametrize("point", SCHEDULER_POINTS)
async def test_transient_errors_of_the_scheduler_are_waited_out(
    url: str, database: Database, armory: Armory, point: str, action: str
) -> None:
    """LOSE at a `committed` point is a commit whose answer is lost: the next recovery finds in the
    database what it did."""
    # Fan out stages only what fits into the capacity: the step `stage` is reached by the rest.
    portfolios = 6 if point.startswith("stage") else 2
    await load_small_book(database, portfolios=portfolios)
    async with engine(url, settings=SETTINGS.model_copy(update={"task_rows": 20})) as running:
        await running.settle()
        if point.startswith(("release", "retry")):
            armory.arm("value.computed", "LOSE")
        armory.arm(point, action)
        await execute(database, "UPDATE market_prices SET price = price + 1")
        await run_until_current(running, database)
    assert armory.victims(point, action), "the point was never reached"
    assert await assert_all_correct(database) == 2 * portfolios * len(DAYS)
    assert await fetch(database, "SELECT max(attempt_count) FROM portfolio_valuation_jobs") == [
        (1,)
    ], "an attempt was counted"


@pytest.mark.parametrize("action", ["LOSE", "CONFLICT", "BREAK"])
@pytest.mark.parametrize("point", VALUE_POINTS)
async def test_a_task_that_fails_at_any_point_is_retried(
    url: str, database: Database, armory: Armory, point: str, action: str
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        armory.arm(point, action)
        await run_until_current(running, database)
    assert armory.victims(point, action), "the point was never reached"
    assert await assert_all_correct(database) == 4 * len(DAYS)


async def test_an_unexpected_error_ends_the_scheduler_and_the_next_one_continues(
    url: str, database: Database, armory: Armory
) -> None:
    await load_small_book(database, portfolios=2)
    armory.arm("apply.written", "BREAK")
    async with engine(url) as running:
        with pytest.raises(fault_injection.InjectedError):
            await asyncio.wait_for(running.loop.run(), 30)
    async with engine(url) as running:
        await running.settle()
    await assert_all_correct(database)


async def test_a_row_that_cannot_be_written_is_a_dead_letter_and_the_other_positions_are_valued(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=8)
    await execute(
        database,
        "ALTER TABLE daily_position_snapshots ADD CONSTRAINT corrupt CHECK (position_id <> 5)",
    )
    async with engine(url) as running:
        await settle_until(running, lambda: has_dead_letters(database))
    states = await fetch(
        database, "SELECT state, count(*) FROM position_status GROUP BY 1 ORDER BY 1"
    )
    assert states == [("CURRENT", 15), ("FAILED", 1)]
    (letter,) = await fetch(
        database, "SELECT attempt_count, failure_reason, traceback FROM dead_letters"
    )
    assert letter[:2] == (3, f"UNEXPECTED_ERROR A {DAYS[0]}")
    assert "CheckViolationError" in letter[2]
    await execute(database, "ALTER TABLE daily_position_snapshots DROP CONSTRAINT corrupt")
    assert await retry_jobs(database, await list_failed_jobs(database))
    async with engine(url) as running:
        await running.settle()
    assert await assert_all_correct(database) == 16 * len(DAYS)


async def test_a_history_that_cannot_be_read_is_a_dead_letter_and_the_other_positions_are_valued(
    url: str, database: Database
) -> None:
    """The server fails while it reads the rows of one position, as with a corrupted page."""
    await load_small_book(database, portfolios=8)
    await execute(database, "ALTER TABLE position_history RENAME TO readable_history")
    await execute(
        database,
        """CREATE VIEW position_history AS
           SELECT position_id, position_date, valid_to_epoch,
                  quantity / CASE position_id WHEN 5 THEN 0 ELSE 1 END AS quantity,
                  cost_basis_local, cost_basis
           FROM readable_history""",
    )
    async with engine(url) as running:
        await settle_until(running, lambda: has_dead_letters(database))
    states = await fetch(
        database, "SELECT state, count(*) FROM position_status GROUP BY 1 ORDER BY 1"
    )
    assert states == [("CURRENT", 15), ("FAILED", 1)]
    (letter,) = await fetch(
        database, "SELECT attempt_count, failure_reason, traceback FROM dead_letters"
    )
    assert letter[:2] == (3, f"UNEXPECTED_ERROR A {DAYS[0]}")
    assert "division by zero" in letter[2]
    await execute(database, "DROP VIEW position_history")
    await execute(database, "ALTER TABLE readable_history RENAME TO position_history")
    assert await retry_jobs(database, await list_failed_jobs(database))
    async with engine(url) as running:
        await running.settle()
    assert await assert_all_correct(database) == 16 * len(DAYS)


async def has_tried(database: Database, times: int) -> bool:
    return bool((await fetch(database, "SELECT last_value FROM tries"))[0][0] >= times)


async def test_a_full_disk_is_waited_out_with_one_message_and_growing_pauses(
    url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The server refuses every COPY with PostgreSQL's own error of a full disk."""
    await load_small_book(database, portfolios=2)
    await execute(
        database,
        """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               PERFORM nextval('tries');
               RAISE EXCEPTION 'could not extend file: No space left on device'
                   USING ERRCODE = 'disk_full';
           END $$""",
    )
    await execute(database, "CREATE SEQUENCE tries")
    await execute(
        database,
        """CREATE TRIGGER full_disk BEFORE INSERT ON daily_position_snapshots
           FOR EACH STATEMENT EXECUTE FUNCTION full_disk()""",
    )
    async with engine(url) as running:
        with caplog.at_level("WARNING", logger="revalue"):
            work = asyncio.create_task(running.loop.run())
            await until(lambda: has_tried(database, 4), work=work)
            assert "No space left on device" in (running.loop.progress.trouble or "")
            await execute(database, "DROP TRIGGER full_disk ON daily_position_snapshots")
            await until(lambda: is_current(database), work=work)
            running.loop.stop()
            await asyncio.wait_for(work, 30)
    messages = [record for record in caplog.records if "No space left" in str(record.msg)]
    assert len(messages) <= 1, messages
    await assert_all_correct(database)
    assert await fetch(database, "SELECT max(attempt_count) FROM portfolio_valuation_jobs") == [
        (1,)
    ], "an attempt was counted"
