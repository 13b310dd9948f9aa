"""Each step of the protocol on a real PostgreSQL, and the invariants it keeps."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from revalue.engine.apply import apply
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.core.valuation import in_storage_order
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import CorrectionRefusedError, TermLostError
from revalue.engine.fan_out import fan_out
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.arrow import Snapshot
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.sequences import take_ids
from revalue.engine.postgres.statement import statements
from revalue.engine.postgres.transaction_reader import TransactionReader
from revalue.engine.stage import stage
from revalue.engine.stage.scan import Scan, scan_page
from revalue.engine.value import valuer
from revalue.engine.value.commit import OUTCOME_COLUMNS, SPAN_COLUMNS, Results, commit_results
from revalue.engine.value.computation import compute
from revalue.engine.value.inputs import read_inputs
from tests.faults.checks import assert_all_correct
from tests.support import (
    DAYS,
    Engine,
    dates,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
    state_of,
)

leadership_sql = statements("revalue.engine.leadership")


async def reprice(database: Database, *days: date) -> None:
    await execute(
        database,
        "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = ANY ($1)",
        list(days),
    )


async def scan_all(running: Engine) -> Scan:
    """Scan what is due. The triggers of the first load invalidate nothing: nothing is scheduled."""
    while await fan_out.fan_out(running.term):
        pass
    return scan_page(running.reader, Lane.HISTORY, 0, page_positions=100, live_business_days=5)


async def queued(database: Database) -> list[tuple]:  # type: ignore[type-arg]
    return await fetch(
        database,
        """SELECT kind, COALESCE(security_id, base_currency || '/' || quote_currency, calendar_id),
                  dates::text
           FROM reprocessing_triggers WHERE fanned_out_at IS NULL ORDER BY trigger_id""",
    )


# Step 1: correct ------------------------------------------------------------


async def test_a_price_reaches_to_the_day_before_the_next_one(database: Database) -> None:
    await load_small_book(database, portfolios=1)
    await execute(database, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date = $1", DAYS[3]
    )
    await execute(
        database,
        "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A' AND price_date = $1",
        DAYS[2],
    )
    await execute(
        database, "UPDATE market_prices SET price = price + 1 WHERE price_date = $1", DAYS[-1]
    )
    assert await queued(database) == [
        ("PRICE", "A", f"{{[{DAYS[3]},{DAYS[4]})}}"),
        ("PRICE", "A", f"{{[{DAYS[2]},{DAYS[4]})}}"),
        ("PRICE", "A", f"{{[{DAYS[-1]},)}}"),
        ("PRICE", "B", f"{{[{DAYS[-1]},)}}"),
    ]


async def test_a_write_that_changes_nothing_triggers_nothing(database: Database) -> None:
    await load_small_book(database, portfolios=1)
    await execute(database, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    await execute(database, "UPDATE market_prices SET price = price")
    await execute(database, "UPDATE fx_rates SET rate = rate WHERE false")
    await execute(database, "DELETE FROM market_prices WHERE false")
    assert await queued(database) == []


async def test_a_trigger_commits_with_its_write_or_not_at_all(database: Database) -> None:
    await load_small_book(database, portfolios=1)
    await execute(database, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE market_prices SET price = 1 WHERE security_id = 'A'")
        await transaction.rollback()
    assert await queued(database) == []


async def test_a_writer_with_an_old_snapshot_writes_an_open_ended_trigger(
    database: Database,
) -> None:
    await load_small_book(database, portfolios=1)
    await execute(database, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    async with database.transaction(isolation="repeatable_read") as connection:
        await connection.execute(
            "UPDATE market_prices SET price = 1 WHERE security_id = 'A' AND price_date = $1",
            DAYS[2],
        )
    assert await queued(database) == [("PRICE", "A", f"{{[{DAYS[2]},)}}")]


async def test_a_writer_of_a_security_waits_for_the_writer_before_it(database: Database) -> None:
    """One deletes the next price while the other inserts an earlier one: both reach further."""
    await load_small_book(database, portfolios=1)
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
    )
    await execute(
        database,
        "DELETE FROM market_prices WHERE security_id = 'A' AND price_date IN ($1, $2)",
        DAYS[2],
        DAYS[3],
    )
    await execute(database, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    async with database.connection() as first, database.connection() as second:
        transaction = first.transaction()
        await transaction.start()
        await first.execute(
            "DELETE FROM market_prices WHERE security_id = 'A' AND price_date = $1", DAYS[4]
        )
        await second.execute("SET lock_timeout = '200ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await second.execute(
                "INSERT INTO market_prices VALUES ('A', $1, 5, 'USD', 'PER_UNIT')", DAYS[2]
            )
        await transaction.commit()
        await second.execute(
            "INSERT INTO market_prices VALUES ('A', $1, 5, 'USD', 'PER_UNIT')", DAYS[2]
        )
    assert await queued(database) == [
        ("PRICE", "A", f"{{[{DAYS[4]},)}}"),
        ("PRICE", "A", f"{{[{DAYS[2]},)}}"),
    ]


async def test_a_date_among_the_opened_ones_is_a_correction_and_a_later_one_is_nothing(
    database: Database,
) -> None:
    await load(database, Kind.BUSINESS_DATES, dates([DAYS[0], DAYS[2]]))
    await load(database, Kind.BUSINESS_DATES, dates([DAYS[1], DAYS[6]]))
    assert await queued(database) == []
    await open_days(database, [DAYS[4]])
    assert await queued(database) == []
    await load(database, Kind.BUSINESS_DATES, dates([DAYS[5], DAYS[7]]))
    assert await queued(database) == []
    await load(database, Kind.BUSINESS_DATES, dates([DAYS[3], DAYS[8]]))
    day = f"{{[{DAYS[3]},{DAYS[4]})}}"  # nothing is held, so nothing is carried across it
    assert await queued(database) == [("CALENDAR", "CAL", day)]


async def test_what_cannot_be_corrected_is_refused(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await running.settle()
    refused = {
        "cost basis in USD": "UPDATE instruments SET currency = 'EUR' WHERE security_id = 'A'",
        "cannot change: it has positions": "UPDATE portfolios SET base_currency = 'EUR'",
        "without a correction": "TRUNCATE market_prices",
    }
    before = await fetch(database, "SELECT count(*) FROM business_dates")
    for message, statement in refused.items():
        with pytest.raises(CorrectionRefusedError, match=message):
            await execute(database, statement)
    assert await fetch(database, "SELECT count(*) FROM business_dates") == before


# Step 2: fan out ------------------------------------------------------------


async def test_fan_out_invalidates_exactly_the_affected_positions_and_dates(
    url: str, database: Database
) -> None:
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await reprice(database, DAYS[2], DAYS[6])
        step = await fan_out.fan_out(running.term)
        assert step is not None
        assert (step.triggers, step.finished, step.positions_invalidated) == (1, True, 3)
        assert await fan_out.fan_out(running.term) is None
    assert (
        await fetch(
            database,
            """SELECT security_id, epoch, published_epoch, pending::text
               FROM position_state ORDER BY 1, portfolio_id""",
        )
        == [("A", 1, 0, f"{{[{DAYS[2]},{DAYS[3]}),[{DAYS[6]},{DAYS[7]})}}")] * 3
        + [("B", 0, 0, "{}")] * 3
    )
    state = await state_of(database, "P1", "A")
    assert state["watermark_date"] == DAYS[1]


async def test_triggers_queued_together_invalidate_a_position_once_and_resume_at_the_cursor(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=5)
    async with engine(url) as running:
        await running.settle()
        for day in (DAYS[2], DAYS[9]):
            await execute(
                database,
                "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1",
                day,
            )
        first = await fan_out.fan_out(running.term, max_positions=2)
        assert first is not None
        assert (first.triggers, first.finished, first.positions_invalidated) == (2, False, 2)
        await execute(
            database,
            "UPDATE market_prices SET price = 9 WHERE security_id = 'B' AND price_date = $1",
            DAYS[3],
        )
    async with engine(url, holder="the next") as running:
        steps = []
        while step := await fan_out.fan_out(running.term, max_positions=2):
            steps.append(step.positions_invalidated)
        # A page is two positions of the book; its first five are of A, the others of B.
        assert steps == [2, 1, 0, 0, 0, 0, 0, 1, 2, 2, 0]
    assert set(await fetch(database, "SELECT epoch FROM position_state")) == {(1,)}


async def test_invalidated_positions_are_staged_at_once_within_the_capacity(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=5)
    async with engine(url) as running:
        await running.settle()
        await execute(
            database,
            "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1",
            DAYS[6],
        )
        step = await fan_out.fan_out(
            running.term, capacity=fan_out.Capacity(running.reader, rows=3, task_rows=2)
        )
        assert step is not None
        assert (step.finished, step.positions_invalidated, step.positions_staged, step.spans) == (
            True,
            5,
            3,
            3,
        )
        assert [(task.rows, task.spans) for task in step.tasks] == [
            (2, 2),
            (1, 1),
        ]
        assert (
            await fetch(
                database,
                """SELECT p.staged_epoch, p.pending::text, j.status, j.first_date, j.last_date,
                          j.epoch
                   FROM position_state p
                   LEFT JOIN job_spans j
                     ON j.position_id = p.position_id AND j.epoch = 1
                   WHERE p.security_id = 'A' ORDER BY p.position_id""",
            )
            == [(1, f"{{[{DAYS[6]},{DAYS[7]})}}", "PROCESSING", DAYS[6], DAYS[6], 1)] * 3
            + [(0, f"{{[{DAYS[6]},{DAYS[7]})}}", None, None, None, None)] * 2
        )
        for task in step.tasks:
            await running.pool.run(task)
        await apply.apply(running.term, step.tasks, retry_seconds=1)
        await running.settle()
    assert set(
        await fetch(database, "SELECT state, epoch FROM position_status WHERE security_id = 'A'")
    ) == {("CURRENT", 1)}


async def test_a_position_that_changes_before_it_is_invalidated_is_not_staged(
    url: str, database: Database
) -> None:
    """It is corrected after the reader has seen that nothing else is due on it: its revision is
    another one when it is invalidated."""
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        await execute(
            database,
            "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1",
            DAYS[6],
        )
        step = await fan_out.fan_out(
            running.term, capacity=fan_out.Capacity(_Overtaken(running), rows=100, task_rows=100)
        )
        assert step is not None
        assert (step.positions_invalidated, step.positions_staged, step.spans) == (2, 1, 1)
        state = await state_of(database, "P1", "A")
        assert (state["epoch"], state["staged_epoch"]) == (2, 0)
        assert state["pending"] is not None
        for task in step.tasks:
            await running.pool.run(task)
        await apply.apply(running.term, step.tasks, retry_seconds=1)
        await running.settle()
    assert await fetch(database, "SELECT DISTINCT state FROM position_status") == [("CURRENT",)]
    assert await fetch(
        database,
        """SELECT DISTINCT price::int, quantity::int FROM position_valuations
           WHERE portfolio_id = 'P1' AND security_id = 'A' AND date = $1""",
        DAYS[6],
    ) == [(7, 3)]


class _Overtaken:
    """A reader; a position is corrected right after each of its reads."""

    def __init__(self, running: Engine) -> None:
        self._running = running
        self._loop = asyncio.get_running_loop()

    async def run(self, work: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.to_thread(work, self, *values)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._running.reader.snapshot() as snapshot:
            yield snapshot
        correction = load(
            self._running.database, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "3"}), replace=True
        )
        asyncio.run_coroutine_threadsafe(correction, self._loop).result(30)


async def test_a_position_that_is_closed_or_not_yet_scheduled_is_not_invalidated(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    await load(
        database, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "1", DAYS[3]: "0"}), replace=True
    )
    async with engine(url) as running:
        await running.settle()
        await execute(database, "UPDATE market_prices SET price = 7 WHERE price_date = $1", DAYS[5])
        await load(database, Kind.PRICES, prices("B", {DAYS[-1] + timedelta(days=3): "5"}))
        await fan_out.fan_out(running.term)
    assert (await state_of(database, "P1", "A"))["epoch"] == 0
    assert (await state_of(database, "P1", "B"))["epoch"] == 1


@pytest.mark.parametrize(
    ("pair", "invalidated"),
    [
        # Inverse of local -> base, and a leg of the cross USD -> EUR -> GBP.
        (("EUR", "USD"), {"P2", "P3"}),
        (("EUR", "GBP"), {"P3"}),  # the other leg
        (("USD", "GBP"), {"P3"}),  # direct
        (("EUR", "CHF"), set()),
    ],
)
async def test_a_rate_reaches_the_conversions_it_is_a_leg_of(
    url: str, database: Database, pair: tuple[str, str], invalidated: set[str]
) -> None:
    await load_small_book(database, portfolios=2)
    await execute(database, "INSERT INTO portfolios VALUES ('P3', 'GBP', 'CAL')")
    await execute(
        database,
        "INSERT INTO fx_rates SELECT 'EUR', 'GBP', business_date, 0.85 FROM business_dates",
    )
    await load(database, Kind.POSITIONS, facts("P3", "A", {DAYS[0]: "1"}))
    async with engine(url) as running:
        await running.settle()
        await execute(
            database,
            """INSERT INTO fx_rates VALUES ($1, $2, $3, 1.2)
               ON CONFLICT (base_currency, quote_currency, rate_date) DO UPDATE SET rate = 1.2""",
            *pair,
            DAYS[5],
        )
        await fan_out.fan_out(running.term)
    assert {
        row[0]
        for row in await fetch(database, "SELECT portfolio_id FROM position_state WHERE epoch > 0")
    } == invalidated


# Step 3: stage ------------------------------------------------------------


async def test_staging_creates_jobs_only_within_the_capacity(url: str, database: Database) -> None:
    await load_small_book(database)
    async with engine(url) as running:
        scanned = await scan_all(running)
        assert (len(scanned.positions), scanned.next_cursor) == (6, None)
        staged = await stage.stage(
            running.term, scanned, Lane.HISTORY, task_rows=20, capacity_rows=40
        )
        assert (staged.positions, staged.spans, [task.rows for task in staged.tasks]) == (
            2,
            2,
            [20, 20],
        )
        assert await fetch(
            database, "SELECT count(*) FROM position_state WHERE frontier_date IS NOT NULL"
        ) == [(2,)]
        assert staged.rest is not None
        assert len(staged.rest.positions) == 4


async def test_a_position_that_was_changed_since_the_scan_is_left_for_the_next_one(
    url: str, database: Database
) -> None:
    """It is scanned while closed and opened before it is staged: its frontier must not pass the
    opening."""
    await load_small_book(database, portfolios=1)
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "0"}), replace=True)
    async with engine(url) as running:
        scanned = await scan_all(running)
        await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[8]: "3"}))
        await stage.stage(running.term, scanned, Lane.HISTORY, task_rows=100, capacity_rows=1000)
        assert (await state_of(database, "P1", "A"))["frontier_date"] is None
        await running.settle()
    rows = await fetch(
        database, "SELECT min(date) FROM position_valuations WHERE security_id = 'A'"
    )
    assert rows == [(DAYS[8],)]


async def test_a_position_that_both_lanes_have_scanned_is_staged_by_one(
    url: str, database: Database
) -> None:
    """A date opens after the live lane's scan and before that of history."""
    await load_small_book(database)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, [DAYS[-1] + timedelta(days=3)])
        kept = scan_page(running.reader, Lane.HISTORY, 0, page_positions=100, live_business_days=5)
        live = scan_page(running.reader, Lane.LIVE, 0, page_positions=100, live_business_days=5)
        first = await stage.stage(running.term, live, Lane.LIVE, task_rows=100, capacity_rows=100)
        second = await stage.stage(
            running.term, kept, Lane.HISTORY, task_rows=100, capacity_rows=100
        )
    assert (first.spans, second.spans) == (6, 0)


async def test_what_was_scanned_before_an_opening_is_left_for_the_next_scan(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    first, second = DAYS[-1] + timedelta(days=3), DAYS[-1] + timedelta(days=4)
    async with engine(url) as running:
        await running.settle()
        await open_days(database, [first])
        scanned = await scan_all(running)
        await open_days(database, [second])
        await stage.stage(running.term, scanned, Lane.HISTORY, task_rows=100, capacity_rows=100)
        assert (await state_of(database, "P1", "A"))["frontier_date"] == DAYS[-1]
        await running.settle()
    valued = "SELECT DISTINCT date FROM position_valuations WHERE date > $1 ORDER BY 1"
    assert await fetch(database, valued, DAYS[-1]) == [(first,), (second,)]


async def test_a_date_is_not_closed_while_positions_are_staged_onto_it(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        scanned = await scan_all(running)
        async with database.transaction() as connection, database.connection() as writer:
            term = Term(OpenTransaction(connection), running.term.number, running.term.holder)
            await stage.stage(term, scanned, Lane.HISTORY, task_rows=100, capacity_rows=100)
            await writer.execute("SET lock_timeout = '200ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await writer.execute(
                    "DELETE FROM business_dates WHERE business_date = $1", DAYS[-1]
                )


@pytest.mark.parametrize(
    "write",
    [
        "DELETE FROM business_dates WHERE business_date = '2024-01-29'",
        "INSERT INTO business_dates VALUES ('CAL', '2024-01-28')",
    ],
)
async def test_a_writer_with_an_old_snapshot_does_not_overlook_an_opening(
    write: str, database: Database
) -> None:
    """It would remove a date on which positions are valued, or change ages without a correction."""
    await load_small_book(database, portfolios=1)
    opened = DAYS[-1] + timedelta(days=3)
    await load(database, Kind.BUSINESS_DATES, dates([opened]))
    async with database.connection() as writer:
        transaction = writer.transaction(isolation="repeatable_read")
        await transaction.start()
        assert await writer.fetchval("SELECT opened_through FROM calendars") == DAYS[-1]
        await open_calendars(database, opened)
        with pytest.raises(asyncpg.SerializationError):
            await writer.execute(write)
        await transaction.rollback()
    stored = await fetch(database, "SELECT business_date FROM business_dates ORDER BY 1")
    assert [day for (day,) in stored] == [*DAYS, opened]


async def test_ids_that_several_take_at_once_are_never_the_same(database: Database) -> None:
    async def take(size: int) -> list[int]:
        async with database.transaction() as connection:
            return await take_ids(connection, "valuation_task_ids", size)

    assert await take(0) == []
    taken = [number for ids in await asyncio.gather(*map(take, range(1, 9))) for number in ids]
    assert len(taken) == len(set(taken)) == 36


async def test_dates_no_longer_due_leave_pending_without_a_job_and_the_position_is_published(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await running.settle()
        # Closed from the first day on: no date is due any more.
        await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "0"}), replace=True)
        state = await state_of(database, "P1", "A")
        assert (state["epoch"], state["published_epoch"]) == (1, 0)
        assert len(
            await fetch(database, "SELECT 1 FROM position_valuations WHERE security_id = 'A'")
        ) == len(DAYS)
        jobs = await fetch(database, "SELECT count(*) FROM portfolio_valuation_jobs")
        await running.settle()
        assert await fetch(database, "SELECT count(*) FROM portfolio_valuation_jobs") == jobs
    state = await state_of(database, "P1", "A")
    assert (state["epoch"], state["published_epoch"], state["watermark_date"]) == (1, 1, DAYS[-1])
    assert await fetch(database, "SELECT 1 FROM position_valuations WHERE security_id = 'A'") == []


async def test_a_position_that_one_transaction_publishes_twice_has_the_last_publication(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await running.settle()
        state = await state_of(database, "P1", "A")
        published = "SELECT count(*) FROM publications WHERE position_id = $1"
        [[count]] = await fetch(database, published, state["position_id"])
        closes = DAYS[-1] + timedelta(days=3)
        async with database.transaction() as connection:
            inside = OpenTransaction(connection)
            term = Term(inside, running.term.number, running.term.holder)
            await load(inside, Kind.POSITIONS, facts("P1", "A", {closes: "0"}))
            # On the two days of a weekend, on which nothing is due.
            await connection.execute(
                "INSERT INTO market_prices VALUES ('A', $1, 5, 'USD', 'PER_UNIT')",
                DAYS[4] + timedelta(days=1),
            )
            assert await fan_out.fan_out(term)
            scanned = await asyncio.to_thread(
                scan_page,
                TransactionReader(connection),
                Lane.HISTORY,
                0,
                page_positions=100,
                live_business_days=5,
            )
            staged = await stage.stage(
                term, scanned, Lane.HISTORY, task_rows=100, capacity_rows=100
            )
            assert (staged.positions, staged.spans) == (1, 0)
    assert await fetch(database, published, state["position_id"]) == [(count + 1,)]
    assert await fetch(
        database,
        "SELECT epoch, upper(open_dates) FROM publications ORDER BY moment_id DESC LIMIT 1",
    ) == [(state["epoch"] + 1, closes + timedelta(days=1))]


# Steps 4 and 5: value, apply ------------------------------------------------------------


async def test_readers_keep_the_old_history_until_the_last_date_is_valued(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await running.settle()
        old = await fetch(
            database,
            "SELECT date, price FROM position_valuations WHERE security_id = 'A' ORDER BY 1",
        )
        await reprice(database, DAYS[2], DAYS[6])
        status = (
            "SELECT DISTINCT reprocessing_status FROM position_valuations WHERE security_id = 'A'"
        )
        assert await fetch(database, status) == [("IN_PROGRESS",)], (
            "a queued trigger already makes it not current"
        )
        await fan_out.fan_out(running.term)
        scanned = await scan_all(running)
        staged = await stage.stage(
            running.term, scanned, Lane.HISTORY, task_rows=1, capacity_rows=100
        )
        (task,) = staged.tasks
        result = await running.pool.run(task)
        assert (result.spans, result.rows, result.fenced) == (2, 2, 0)
        assert (
            await fetch(
                database,
                "SELECT date, price FROM position_valuations WHERE security_id = 'A' ORDER BY 1",
            )
            == old
        )
        assert await fetch(database, status) == [("IN_PROGRESS",)]
        await apply.apply(running.term, [task], retry_seconds=1)
        new = dict(
            await fetch(
                database, "SELECT date, price FROM position_valuations WHERE security_id = 'A'"
            )
        )
        assert await fetch(database, status) == [("CURRENT",)]
    assert {day for day, price in old if new[day] != price} == {DAYS[2], DAYS[6]}


async def test_applying_twice_changes_nothing(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await running.settle()
        before = await fetch(database, "SELECT * FROM position_state ORDER BY 1")
        await apply.apply(running.term, running.pool.ran, retry_seconds=1)
        assert await fetch(database, "SELECT * FROM position_state ORDER BY 1") == before


async def test_a_result_of_an_older_epoch_is_dropped_and_counted(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        scanned = await scan_all(running)
        staged = await stage.stage(
            running.term, scanned, Lane.HISTORY, task_rows=1000, capacity_rows=1000
        )
        (task,) = staged.tasks
        # The epoch is raised while the actor computes: after it has read, before it commits.
        real = valuer.commit_results

        async def finish_late(*arguments, **options):  # type: ignore[no-untyped-def]
            await execute(
                database,
                "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1",
                DAYS[2],
            )
            await fan_out.fan_out(running.term)
            return await real(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(valuer, "commit_results", finish_late)
            result = await running.pool.run(task)
        assert (result.spans, result.fenced, result.rows) == (2, 1, len(DAYS))
        assert await fetch(database, "SELECT DISTINCT security_id FROM position_valuations") == [
            ("B",)
        ]
        await apply.apply(running.term, [task], retry_seconds=1)
        await running.settle()
        statuses = await fetch(
            database,
            "SELECT status::text, count(*) FROM job_spans GROUP BY 1 ORDER BY 1",
        )
        assert statuses == [("COMPLETE", 2), ("SUPERSEDED", 1)]
    assert len(await fetch(database, "SELECT 1 FROM position_valuations")) == 2 * len(DAYS)


async def test_an_abandoned_attempt_cannot_finish(url: str, database: Database) -> None:
    """A zombie: its task is abandoned and its jobs retried, then it wakes up and commits."""
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        scanned = await scan_all(running)
        staged = await stage.stage(
            running.term, scanned, Lane.HISTORY, task_rows=1000, capacity_rows=1000
        )
        (task,) = staged.tasks
        await apply.release(running.term, task, retry_seconds=1, reason="test")
        (again,) = await apply.retry_due(running.term, max_jobs=100, task_rows=1000, capacity=10)
        assert again.task_id != task.task_id
        zombie = await running.pool.run(task)
        assert (zombie.rows, zombie.spans) == (0, 0)
        result = await running.pool.run(again)
        assert (result.rows, result.fenced) == (2 * len(DAYS), 0)
        await apply.apply(running.term, [again], retry_seconds=1)
        assert await fetch(
            database, "SELECT DISTINCT attempt_count, status::text FROM portfolio_valuation_jobs"
        ) == [(1, "COMPLETE")]


async def test_an_attempt_that_leaves_spans_of_its_job_finishes_the_others_once(
    url: str, database: Database
) -> None:
    """A position of the job is superseded before the attempt reads: the job keeps that span and
    stays the attempt's. Whoever commits the same results again would write each row again."""
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        scanned = await scan_all(running)
        staged = await stage.stage(
            running.term, scanned, Lane.HISTORY, task_rows=1000, capacity_rows=1000
        )
        (task,) = staged.tasks
        await corrections.price(database, "A", DAYS[3], Decimal("7"))
        while await fan_out.fan_out(running.term):
            pass
        inputs = read_inputs(running.reader, task)
        assert inputs is not None
        assert (len(inputs.spans), inputs.spans["span_count"].to_list()) == (2, [4, 4])
        valued = compute(inputs, max_attempts=3)
        results = Results(
            inputs.spans.select(SPAN_COLUMNS),
            in_storage_order(valued.rows),
            valued.holes,
            valued.outcomes.select(OUTCOME_COLUMNS),
        )
        assert await commit_results(database, task, results) == (0, 2 * len(DAYS))
        rows = await fetch(database, "SELECT * FROM daily_position_snapshots ORDER BY 1, 3")
        assert await commit_results(database, task, results) == (2, 0)
        assert await fetch(database, "SELECT * FROM daily_position_snapshots ORDER BY 1, 3") == rows
        assert await fetch(
            database, "SELECT task_id, jobs_abandoned, jobs_superseded FROM fenced_attempts"
        ) == [(task.task_id, 2, 0)]
        await apply.apply(running.term, [task], retry_seconds=1)
        await running.settle()
        assert await assert_all_correct(database) == 2 * 2 * len(DAYS)


async def test_an_attempt_that_has_no_rows_is_fenced_like_any_other(
    url: str, database: Database
) -> None:
    """Its jobs wait for their first price; before it commits that, it is abandoned."""
    await load_small_book(database, portfolios=1)
    await execute(database, "DELETE FROM market_prices")
    async with engine(url) as running:
        scanned = await scan_all(running)
        staged = await stage.stage(
            running.term, scanned, Lane.HISTORY, task_rows=1000, capacity_rows=1000
        )
        (task,) = staged.tasks
        inputs = read_inputs(running.reader, task)
        assert inputs is not None
        valued = compute(inputs, max_attempts=3)
        assert len(valued.rows) == 0
        await apply.release(running.term, task, retry_seconds=1, reason="test")
        results = Results(
            inputs.spans.select(SPAN_COLUMNS),
            valued.rows,
            valued.holes,
            valued.outcomes.select(OUTCOME_COLUMNS),
        )
        assert await commit_results(database, task, results) == (2, 0)


async def test_a_job_without_a_position_is_skipped_and_is_no_dead_letter(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "0"}), replace=True)
    async with engine(url) as running:
        await running.settle()
        (position,) = (
            await fetch(database, "SELECT position_id FROM position_state WHERE security_id = 'A'")
        )[0]
        await execute(
            database,
            """INSERT INTO portfolio_valuation_jobs
                   (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date,
                    last_date, attempt_count, lane, status, term, task_id)
               VALUES (900, ARRAY[$1::bigint], '{0}', ARRAY[$2::date], ARRAY[$3::date], '{NULL}',
                       $2, $3, 1, 'HISTORY', 'PROCESSING', 1, 900)""",
            position,
            DAYS[0],
            DAYS[3],
        )
        result = await running.pool.run(Task(900, 0, 2**62, 1, 4, Lane.HISTORY))
        assert result.statuses == {"SKIPPED_NO_POSITION": 1}
    assert await fetch(
        database,
        "SELECT status::text, valued_through FROM portfolio_valuation_jobs WHERE job_id = 900",
    ) == [("SKIPPED_NO_POSITION", DAYS[3])]
    assert await fetch(database, "SELECT 1 FROM dead_letters") == []


# Terms ------------------------------------------------------------


async def test_a_scheduler_that_lost_its_term_writes_nothing_more(database: Database) -> None:
    await load_small_book(database, portfolios=1)
    old = await Term.acquire(database, "first", lease_seconds=60)
    new = await Term.acquire(database, "second", lease_seconds=60, take_over=True)
    assert new.number == old.number + 1
    for use in (old.heartbeat, lambda: fan_out.fan_out(old), lambda: apply.recover(old)):
        with pytest.raises(TermLostError, match="second"):
            await use()
    await new.heartbeat()
    await new.release()
    assert (await Term.acquire(database, "third", lease_seconds=60)).number == new.number + 1


async def test_a_term_that_a_server_without_it_gives_again_is_over_for_the_first_who_had_it(
    database: Database,
) -> None:
    """A standby that lagged behind was promoted: it does not know of the last term."""
    lost = await Term.acquire(database, "first", lease_seconds=60)
    await execute(database, "UPDATE scheduler_term SET term = term - 1, holder = NULL")
    again = await Term.acquire(database, "second", lease_seconds=60)
    assert again.number == lost.number
    for use in (lost.heartbeat, lost.control, lambda: apply.recover(lost)):
        with pytest.raises(TermLostError, match="second"):
            await use()
    await lost.release()
    await again.heartbeat()


async def test_a_new_term_waits_for_the_transactions_of_the_old_one(database: Database) -> None:
    old = await Term.acquire(database, "first", lease_seconds=60)
    async with old.transaction("apply"), database.connection() as second:
        await second.execute("SET lock_timeout = '200ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await leadership_sql("acquire").value(
                second, holder="second", take_over=True, dead_term=None, dead_heartbeat=None
            )


async def test_what_a_lost_scheduler_left_is_recovered(url: str, database: Database) -> None:
    """One task is committed but not applied, one is in flight, when the scheduler disappears."""
    await load_small_book(database, portfolios=1)
    async with engine(url, holder="lost") as running:
        scanned = await scan_all(running)
        staged = await stage.stage(
            running.term, scanned, Lane.HISTORY, task_rows=1, capacity_rows=1000
        )
        await running.pool.run(staged.tasks[0])
        assert await fetch(
            database, "SELECT count(*) FROM position_state WHERE isempty(pending)"
        ) == [(0,)]
    async with engine(url, holder="next") as running:
        assert await fetch(
            database, "SELECT count(*) FROM position_state WHERE isempty(pending)"
        ) == [(1,)]
        await running.settle()
        assert [task.rows for task in running.pool.ran] != []
    assert await fetch(
        database,
        "SELECT count(*), count(DISTINCT (position_id, date)) FROM daily_position_snapshots",
    ) == [(2 * len(DAYS), 2 * len(DAYS))]
    assert set(await fetch(database, "SELECT state FROM position_status")) == {("CURRENT",)}


def test_the_days_are_those_that_the_cases_assume() -> None:
    assert (DAYS[0], DAYS[4], DAYS[5], DAYS[-1]) == (
        date(2024, 1, 1),
        date(2024, 1, 5),
        date(2024, 1, 8),
        date(2024, 1, 26),
    )


async def test_a_job_that_waited_under_an_older_epoch_is_superseded_by_the_next_scheduler(
    url: str, database: Database
) -> None:
    """The scheduler dies after the attempt's commit and before its application; a correction comes
    before the next scheduler."""
    await load_small_book(database, portfolios=1)
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
    )
    async with engine(url, holder="lost") as running:
        staged = await stage.stage(
            running.term, await scan_all(running), Lane.HISTORY, task_rows=1000, capacity_rows=1000
        )
        for task in staged.tasks:
            await running.pool.run(task)
    await execute(
        database,
        "UPDATE market_prices SET price = 9 WHERE security_id = 'A' AND price_date = $1",
        DAYS[0],
    )
    async with await Database.open(url) as other:
        term = await Term.acquire(other, "between", lease_seconds=60, take_over=True)
        await fan_out.fan_out(term)
    async with engine(url, holder="next") as running:
        await running.settle()
    jobs = await fetch(
        database,
        """SELECT epoch, status::text FROM job_spans
           WHERE status <> 'COMPLETE' ORDER BY 1""",
    )
    assert jobs == [(0, "SUPERSEDED"), (1, "WAITING_FOR_DATA")]
