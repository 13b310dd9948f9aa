"""The scheduler's policies, without Ray.

Capacity, lanes, retries, poison jobs, lost tasks, trouble with the database.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from revalue.actors import lane_steps
from revalue.actors.protocols import TaskLostError
from revalue.engine.apply import apply
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import DatabaseUnavailableError, TermLostError
from revalue.engine.fan_out import fan_out
from revalue.engine.leadership.term import Term
from revalue.engine.operate.job_list import list_jobs
from revalue.engine.operate.status import read_status, retry_jobs
from revalue.engine.postgres.database import Database
from revalue.engine.value import computation
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    facts,
    fetch,
    has_dead_letters,
    load_small_book,
    open_days,
    prices,
    settle_until,
    until,
)


def record_processing(running: Engine, database: Database) -> list[int]:
    """Record how many jobs are PROCESSING whenever a task starts."""
    counts: list[int] = []
    real = running.pool.run

    async def counted(task: Task, taken: Callable[[], None]) -> TaskResult:
        taken()
        rows = await fetch(
            database, "SELECT count(*) FROM portfolio_valuation_jobs WHERE status = 'PROCESSING'"
        )
        counts.append(rows[0][0])
        return await real(task)

    running.pool.run = counted  # type: ignore[method-assign]
    return counts


@pytest.mark.slow
async def test_tasks_in_flight_and_their_jobs_stay_within_the_capacity(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=30)
    async with engine(
        url, settings=SETTINGS.model_copy(update={"task_rows": 20}), workers=2
    ) as running:
        processing = record_processing(running, database)
        await running.settle()
        assert running.pool.most_at_once <= running.pool.capacity(Lane.HISTORY)
        assert len(running.pool.ran) == 60
        assert max(processing) <= 2 * running.pool.capacity(Lane.HISTORY), (
            "jobs were created far beyond the capacity to run them"
        )


@pytest.mark.slow
async def test_holes_that_become_due_together_are_valued_within_the_capacity(
    url: str, database: Database
) -> None:
    """Holes of many positions become due together: no more jobs are PROCESSING than fit."""
    await load_small_book(database, portfolios=30)
    await execute(database, "DELETE FROM market_prices WHERE price_date > $1", DAYS[4])
    async with engine(
        url, settings=SETTINGS.model_copy(update={"task_rows": 20}), workers=2
    ) as running:
        await running.settle()
        assert (await read_status(database)).positions == {"WAITING_FOR_DATA": 60}
        processing = record_processing(running, database)
        done = len(running.pool.ran)
        waiting = [job["job_id"] for job in await list_jobs(database, limit=100)]
        assert len(await retry_jobs(database, waiting)) == 60
        await running.settle()
        assert len(running.pool.ran) - done >= 30
        assert max(processing) <= 3 * running.pool.capacity(Lane.HISTORY)


async def test_a_task_of_jobs_due_again_is_of_one_lane(url: str, database: Database) -> None:
    """Jobs that wait for data have a span each: a few tasks take them together."""
    await load_small_book(database, portfolios=3)
    await execute(database, "DELETE FROM market_prices WHERE price_date > $1", DAYS[4])
    async with engine(url) as running:
        await running.settle()
        jobs = [
            job
            for (job,) in await fetch(
                database, "SELECT job_id FROM portfolio_valuation_jobs ORDER BY 1"
            )
        ]
        assert len(jobs) == 6
        await execute(
            database, "UPDATE portfolio_valuation_jobs SET lane = 'LIVE' WHERE job_id = $1", jobs[1]
        )
        await execute(
            database,
            "UPDATE portfolio_valuation_jobs SET status = 'PENDING', valued_through = NULL, "
            "finished_at = NULL, is_open = true",
        )
        await execute(
            database,
            "INSERT INTO deferred_jobs SELECT job_id, now() FROM portfolio_valuation_jobs",
        )
        first = await apply.retry_due(running.term, max_jobs=100, task_rows=1_000, capacity=1)
        second = await apply.retry_due(running.term, max_jobs=100, task_rows=1_000, capacity=9)
    assert [(task.lane, task.spans) for task in first] == [(Lane.LIVE, 1)]
    assert [(task.lane, task.spans) for task in second] == [(Lane.HISTORY, 5)]
    taken = await fetch(
        database, "SELECT job_id, task_id FROM portfolio_valuation_jobs ORDER BY job_id"
    )
    other = second[0].task_id
    assert taken == [(job, first[0].task_id if job == jobs[1] else other) for job in jobs]


@pytest.mark.slow
async def test_todays_valuations_do_not_wait_behind_a_mass_correction(
    url: str, database: Database
) -> None:
    """A day opens while tasks that do not end use all capacity for history: it is valued."""
    await load_small_book(database, portfolios=30)
    tomorrow = DAYS[-1] + timedelta(days=3)
    waiting = """SELECT count(*) FROM position_state
                 WHERE security_id = 'B' AND watermark_date IS DISTINCT FROM $1"""
    async with engine(
        url, settings=SETTINGS.model_copy(update={"task_rows": 1}), workers=1
    ) as running:
        await running.settle()
        real, gate, held = running.pool.run, asyncio.Event(), 0

        async def gated(task: Task, taken: Callable[[], None]) -> TaskResult:
            taken()
            nonlocal held
            if task.lane is Lane.HISTORY:
                held += 1
                await gate.wait()
            return await real(task)

        running.pool.run = gated  # type: ignore[method-assign]
        await execute(
            database,
            """UPDATE market_prices SET price = price + 1
               WHERE security_id = 'A' AND price_date > $1""",
            DAYS[2],
        )
        await running.loop.run_once()
        await execute(
            database, "INSERT INTO market_prices SELECT 'B', $1, 9, 'USD', 'PER_UNIT'", tomorrow
        )
        await open_days(database, [tomorrow])
        running.loop.wake()
        async with asyncio.timeout(60):
            while (await fetch(database, waiting, tomorrow))[0][0]:
                if not await running.loop.run_once():
                    await asyncio.wait_for(running.loop.woken(), 30)
        assert held == running.pool.capacity(Lane.HISTORY)
        corrected = "SELECT FROM daily_position_snapshots WHERE epoch > 0 AND date < $1"
        assert not await fetch(database, corrected, tomorrow), "a history was valued"
        gate.set()
        await running.settle()
    assert await fetch(database, "SELECT DISTINCT state FROM position_status") == [("CURRENT",)]


@pytest.mark.slow
async def test_history_goes_on_in_small_pages_while_a_live_task_does_not_end(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=20)
    async with engine(url) as running:
        await running.settle()
        monkeypatch.setattr(lane_steps, "PAGE_POSITIONS", 8)
        # A busy machine takes longer than the usual time for the correction below.
        monkeypatch.setattr(lane_steps, "_SMALL_PAGES_SECONDS", 600)
        real_run, real_fan_out, gate, live = running.pool.run, fan_out.fan_out, asyncio.Event(), 0
        pages: list[int] = []

        async def gated(task: Task, taken: Callable[[], None]) -> TaskResult:
            taken()
            nonlocal live
            if task.lane is Lane.LIVE:
                live += 1
                await gate.wait()
            return await real_run(task)

        async def noted(*given: Any, max_positions: int, **more: Any) -> fan_out.FannedOut | None:
            step = await real_fan_out(*given, max_positions=max_positions, **more)
            if step is not None:
                pages.append(max_positions)
            return step

        async def corrected(rows: int) -> bool:
            valued = "SELECT count(*) FROM daily_position_snapshots WHERE epoch > 0 AND date = $1"
            return await fetch(database, valued, DAYS[2]) == [(rows,)]

        async def live_waits() -> bool:
            return live > 0

        monkeypatch.setattr(fan_out, "fan_out", noted)
        running.pool.run = gated  # type: ignore[method-assign]
        work = asyncio.create_task(running.loop.run())
        await open_days(database, [DAYS[-1] + timedelta(days=3)])
        await until(live_waits)
        await execute(
            database,
            "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1",
            DAYS[2],
        )
        await until(lambda: corrected(20))
        assert set(pages) == {2}, "pages are a quarter as large while the live lane works"
        gate.set()
        await until(running.loop.is_quiet)
        monkeypatch.setattr(lane_steps, "_SMALL_PAGES_SECONDS", 0)
        await execute(
            database,
            "UPDATE market_prices SET price = 8 WHERE security_id = 'A' AND price_date = $1",
            DAYS[2],
        )
        await until(lambda: corrected(40))
        assert set(pages[-2:]) == {8}
        running.loop.stop()
        await work


@pytest.mark.parametrize("opened", ["before its prices", "after its prices"])
async def test_a_new_day_is_valued_once_whether_it_is_opened_before_or_after_its_prices(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch, opened: str
) -> None:
    """Its prices and rate are fanned out in several pages."""
    await load_small_book(database, portfolios=20)
    tomorrow = DAYS[-1] + timedelta(days=3)
    async with engine(url) as running:
        await running.settle()
        monkeypatch.setattr(lane_steps, "PAGE_POSITIONS", 8)
        written = running.loop.progress.rows_written
        if opened == "before its prices":
            await open_days(database, [tomorrow])
        for security in ("A", "B"):
            await load(database, Kind.PRICES, prices(security, {tomorrow: "9.75"}))
        await execute(database, "INSERT INTO fx_rates SELECT 'EUR', 'USD', $1, 1.25", tomorrow)
        if opened == "after its prices":
            await open_days(database, [tomorrow])
        await running.settle()
        assert running.loop.progress.rows_written - written == 40
        assert running.loop.progress.positions_invalidated == 0
    assert (await read_status(database)).is_current


async def failing_when(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, breaks: Callable[[set[int]], bool]
) -> None:
    real = computation.value

    def value(jobs, history, market):  # type: ignore[no-untyped-def]
        if breaks(set(jobs["position_id"].to_list())):
            raise error
        return real(jobs, history, market)

    monkeypatch.setattr(computation, "value", value)


@pytest.mark.parametrize("failure", [ArithmeticError, pl.exceptions.PanicException])
async def test_a_poison_job_ends_as_a_dead_letter_and_its_neighbours_are_valued(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    """A panic of a native library is not an Exception, but a failure all the same."""
    await load_small_book(database, portfolios=8)
    async with engine(url) as running:
        poison = (
            await fetch(
                database,
                """SELECT position_id FROM position_state
                   WHERE portfolio_id = 'P5' AND security_id = 'A'""",
            )
        )[0][0]
        await failing_when(
            monkeypatch, failure("a poison position"), lambda positions: poison in positions
        )
        await settle_until(running, lambda: has_dead_letters(database))
        states = await fetch(
            database, "SELECT state, count(*) FROM position_status GROUP BY 1 ORDER BY 1"
        )
        assert states == [("CURRENT", 15), ("FAILED", 1)]
        (letter,) = await fetch(
            database, "SELECT job_id, attempt_count, failure_reason, traceback FROM dead_letters"
        )
        assert letter[1:3] == (3, f"UNEXPECTED_ERROR A {DAYS[0]}")
        assert f"{failure.__name__}: a poison position" in letter[3]
        monkeypatch.undo()
        assert await retry_jobs(database, [letter[0], 10**9]) == [letter[0]]
        await running.settle()
        assert (await read_status(database)).is_current
        assert (await read_status(database)).dead_letters == 0


async def test_an_overflow_fails_its_job_at_once_and_only_it(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=2)
    await load(
        database, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "1", DAYS[3]: "99999999999999999"})
    )
    async with engine(url) as running:
        await running.settle()
    states = await fetch(
        database,
        """SELECT state, watermark_date, failure_reason FROM position_status
           WHERE state <> 'CURRENT'""",
    )
    assert states == [("FAILED", DAYS[3] - timedelta(days=1), f"OVERFLOW A {DAYS[3]}")]
    assert await fetch(database, "SELECT attempt_count, failure_reason FROM dead_letters") == [
        (1, f"OVERFLOW A {DAYS[3]}")
    ]


@pytest.mark.parametrize("committed", [True, False])
async def test_the_outcome_of_a_lost_task_is_read_from_its_jobs(
    url: str, database: Database, committed: bool
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        real = running.pool.run
        lost: list[Task] = []

        async def losing(task: Task, taken: Callable[[], None]) -> TaskResult:
            taken()
            if lost:
                return await real(task)
            lost.append(task)
            if committed:
                await real(task)
            raise TaskLostError("the actor is gone")

        running.pool.run = losing  # type: ignore[method-assign]
        await running.settle()
        assert running.loop.progress.tasks_lost == 1
        assert len(running.pool.ran) == 1, (
            "a committed task was done again" if committed else "the task was not done again"
        )
    assert (await read_status(database)).is_current
    assert await fetch(database, "SELECT DISTINCT attempt_count FROM portfolio_valuation_jobs") == [
        (1,)
    ], "the attempt was counted"


@pytest.mark.slow
async def test_a_job_that_ends_its_process_is_found_and_its_neighbours_are_valued(
    url: str, database: Database
) -> None:
    """It raises nothing: the process of each task that has it dies."""
    await load_small_book(database, portfolios=40)
    async with engine(
        url, settings=SETTINGS.model_copy(update={"task_rows": 10_000_000})
    ) as running:
        real = running.pool.run
        died: list[int] = []

        async def dying(task: Task, taken: Callable[[], None]) -> TaskResult:
            taken()
            poison = """SELECT count(*), max(job_id) FILTER (WHERE position_id = 23)
                        FROM job_spans WHERE task_id = $1"""
            ((jobs, poison_job),) = await fetch(database, poison, task.task_id)
            if poison_job is not None:
                died.append(jobs)
                raise TaskLostError("the actor died", died=True)
            return await real(task)

        running.pool.run = dying  # type: ignore[method-assign]
        await asyncio.wait_for(running.settle(), 60)
        assert died[0] == 80
        assert died[-SETTINGS.max_attempts :] == [1] * SETTINGS.max_attempts
        states = dict(
            await fetch(database, "SELECT state, count(*) FROM position_status GROUP BY 1")
        )
        assert states == {"CURRENT": 79, "FAILED": 1}
        ((letter, reason),) = await fetch(
            database, "SELECT traceback, failure_reason FROM dead_letters"
        )
        assert letter.startswith(f"The process that valued it died {len(died)} times")
        assert "the actor died" in letter
        assert reason == f"UNEXPECTED_ERROR A {DAYS[0]}"
        # The cause is repaired, and an operator retries the job.
        running.pool.run = real  # type: ignore[method-assign]
        await retry_jobs(
            database, [job for (job,) in await fetch(database, "SELECT job_id FROM dead_letters")]
        )
        await running.settle()
    assert (await read_status(database)).is_current
    assert await fetch(
        database, "SELECT DISTINCT deaths FROM job_spans WHERE position_id = 23"
    ) == [(0,)]


async def test_the_loop_waits_out_trouble_with_the_database_and_ends_when_its_term_does(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        real = running.pool.run
        failures = [DatabaseUnavailableError("down"), DatabaseUnavailableError("still down")]

        async def away(task: Task, taken: Callable[[], None]) -> TaskResult:
            taken()
            if failures:
                raise failures.pop()
            return await real(task)

        running.pool.run = away  # type: ignore[method-assign]
        task = asyncio.create_task(running.loop.run())
        await until(running.loop.is_quiet, work=task)
        assert (await read_status(database)).is_current
        # Every connection is cut; then a correction comes.
        await execute(
            database,
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid <> pg_backend_pid() AND datname = current_database()""",
        )
        await execute(
            database,
            "UPDATE market_prices SET price = 8 WHERE security_id = 'A' AND price_date = $1",
            DAYS[4],
        )

        async def is_published() -> bool:
            query = "SELECT count(*) FROM position_state WHERE published_epoch = 1"
            return (await fetch(database, query))[0][0] == 2

        await until(is_published, work=task)
        other = await Term.acquire(database, "other", lease_seconds=60, take_over=True)
        await execute(
            database,
            "UPDATE market_prices SET price = 9 WHERE security_id = 'A' AND price_date = $1",
            DAYS[4],
        )
        with pytest.raises(TermLostError, match=f"other holds term {other.number}"):
            await asyncio.wait_for(task, 30)
    assert (await read_status(database)).positions == {"CURRENT": 2, "REPROCESSING": 2}
    shown = await fetch(
        database,
        "SELECT DISTINCT price FROM position_valuations WHERE security_id = 'A' AND date = $1",
        DAYS[4],
    )
    assert shown == [(Decimal(8),)]


async def test_an_idle_scheduler_recovers_when_its_listener_is_cut_off(
    url: str, database: Database
) -> None:
    """It is the only sign of a failover: no step needs the database before the next poll."""
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=SETTINGS.model_copy(update={"poll_seconds": 1_000})) as running:
        task = asyncio.create_task(running.loop.run())
        await until(running.loop.is_quiet, work=task)

        async def last_id() -> int:
            return (await fetch(database, "SELECT last_value FROM valuation_task_ids"))[0][0]

        before = await last_id()

        async def is_cut_off() -> bool:
            cut = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'revalue listener'"""
            return await fetch(database, cut) == [(True,)]

        await until(is_cut_off, work=task)

        async def has_left_out_ids() -> bool:
            return await last_id() >= before + 1_000_000

        await until(has_left_out_ids, work=task)
        running.loop.stop()
        await asyncio.wait_for(task, 30)


async def test_holes_are_valued_when_an_operator_retries_them_without_a_trigger(
    url: str, database: Database
) -> None:
    """Data that came past the database triggers: a retry values the holes, and nothing else."""
    await load_small_book(database, portfolios=1)
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
    )
    async with engine(url) as running:
        await running.settle()
        assert (await read_status(database)).positions == {"CURRENT": 1, "WAITING_FOR_DATA": 1}
        await execute(database, "ALTER TABLE market_prices DISABLE TRIGGER USER")
        await execute(
            database,
            """INSERT INTO market_prices
               SELECT 'A', business_date, 7, 'USD', 'PER_UNIT' FROM business_dates
               ON CONFLICT DO NOTHING""",
        )
        await running.settle()
        assert (await read_status(database)).positions == {"CURRENT": 1, "WAITING_FOR_DATA": 1}
        waiting = await list_jobs(database, status="WAITING_FOR_DATA")
        await retry_jobs(database, [job["job_id"] for job in waiting])
        await running.settle()
        assert (await read_status(database)).is_current
        jobs = await fetch(
            database,
            """SELECT status::text, epochs[1], rows_written FROM portfolio_valuation_jobs
               ORDER BY job_id""",
        )
        valued = 8  # to DAYS[4], and the three business days that its price may be old
        assert sorted(jobs) == [
            ("COMPLETE", 0, len(DAYS)),
            ("COMPLETE", 1, len(DAYS) - valued),
            ("SUPERSEDED", 0, valued),
        ]
