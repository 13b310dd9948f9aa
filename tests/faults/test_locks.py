"""Locks of other database sessions: what they hold up, that all else continues, and who is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import polars as pl
import pytest

from revalue.actors import lock_watch
from revalue.engine.apply import apply
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import StatementCancelledError, WriteConflictError
from revalue.engine.fan_out import fan_out
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement
from revalue.engine.read.queries import open_limited
from tests.faults.checks import assert_all_correct
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
    until,
)

TOMORROW = DAYS[-1] + timedelta(days=3)
CORRECTION = "UPDATE market_prices SET price = price + 1 WHERE security_id = "
LOCKED = SETTINGS.model_copy(update={"lock_seconds": 1.0})


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_watch, "_LOOK_SECONDS", 0.1)


@pytest.fixture
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody's psql."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "psql"})
    yield connection
    await connection.close()


@asynccontextmanager
async def served(url: str) -> AsyncIterator[Engine]:
    """An engine whose loop runs, as in service."""
    async with engine(url, settings=LOCKED) as running:
        work = asyncio.create_task(running.loop.run())
        try:
            yield running
            assert not work.done(), work.exception()
        finally:
            running.loop.stop()
            await asyncio.wait_for(work, 30)


async def book_of_two_calendars(database: Database) -> None:
    """P1 and P2 of the small book follow the calendar CAL, P3 and P4 the calendar OTHER."""
    await load_small_book(database, portfolios=2)
    await open_days(database, DAYS, "OTHER")
    others = {"portfolio_id": ["P3", "P4"], "base_currency": ["USD", "EUR"]}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame({**others, "calendar_id": ["OTHER"] * 2}))
    held = [facts(name, security, {DAYS[0]: "3"}) for name in ("P3", "P4") for security in "AB"]
    await load(database, Kind.POSITIONS, pl.concat(held))


async def load_tomorrow(database: Database) -> None:
    """Load the prices and the rate of the next business day."""
    for security in "AB":
        await load(database, Kind.PRICES, prices(security, {TOMORROW: "77"}))
    await load(
        database,
        Kind.FX_RATES,
        pl.DataFrame(
            {
                "base_currency": ["EUR"],
                "quote_currency": ["USD"],
                "rate_date": [TOMORROW],
                "rate": ["1.2"],
            }
        ),
    )


async def open_tomorrow(database: Database) -> None:
    await load_tomorrow(database)
    for calendar in ("CAL", "OTHER"):
        await open_days(database, [TOMORROW], calendar)


async def valued_through(database: Database, *portfolios: str) -> set[object]:
    rows = await fetch(
        database,
        "SELECT watermark_date FROM position_state WHERE portfolio_id = ANY ($1)",
        list(portfolios),
    )
    return {watermark for (watermark,) in rows}


@pytest.mark.parametrize(
    ("opens", "end"), [(False, "COMMIT"), (True, "COMMIT"), (True, "ROLLBACK")]
)
async def test_an_uncommitted_business_date_holds_up_its_calendar_only(
    url: str,
    database: Database,
    session: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
    opens: bool,
    end: str,
) -> None:
    await book_of_two_calendars(database)
    await load_tomorrow(database)
    await session.execute("BEGIN")
    await session.execute("INSERT INTO business_dates VALUES ('CAL', $1)", TOMORROW)
    if opens:
        await session.execute(
            "UPDATE calendars SET opened_through = $1 WHERE calendar_id = 'CAL'", TOMORROW
        )
    with caplog.at_level("WARNING", logger="revalue"):
        async with served(url) as running:

            async def is_told() -> bool:
                return "calendar CAL is locked" in (running.loop.progress.trouble or "")

            await until(is_told)
            told = running.loop.progress.trouble or ""
            pid = session.get_server_pid()
            assert f"by database session pid {pid} (user postgres, application psql)" in told
            assert "in a transaction since 20" in told
            assert f"pg_terminate_backend({pid})" in told
            assert "OTHER" not in told

            async def others_are_valued() -> bool:
                return await valued_through(database, "P3", "P4") == {DAYS[-1]}

            await until(others_are_valued)
            assert await valued_through(database, "P1", "P2") == {None}
            assert not await running.loop.is_quiet(), "its positions are not valued yet"
            await session.execute(end)

            async def is_current() -> bool:
                return await running.loop.is_quiet() and (await read_status(database)).is_current

            await until(is_current)
            assert running.loop.progress.trouble is None
    assert await valued_through(database, "P1") == {
        TOMORROW if opens and end == "COMMIT" else DAYS[-1]
    }
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "held up by the locks of another database session" in warning
    await assert_all_correct(database)


async def test_an_uncommitted_price_holds_up_nothing(
    url: str, database: Database, session: asyncpg.Connection
) -> None:
    await book_of_two_calendars(database)
    async with served(url) as running:

        async def is_current() -> bool:
            return await running.loop.is_quiet() and (await read_status(database)).is_current

        await until(is_current)
        await session.execute("BEGIN")
        await session.execute(f"{CORRECTION} 'A'")
        await execute(database, f"{CORRECTION} 'B'")
        await execute(database, "UPDATE fx_rates SET rate = rate + 1")
        await until(is_current)
        assert running.loop.progress.trouble is None
        await assert_all_correct(database)
        await session.execute("COMMIT")
        await until(is_current)
    await assert_all_correct(database)


async def test_a_locked_position_holds_up_the_staging_of_that_position_only(
    url: str, database: Database, session: asyncpg.Connection
) -> None:
    """As an uncommitted load of positions locks it."""
    await book_of_two_calendars(database)
    await session.execute("BEGIN")
    await session.execute(
        "SELECT FROM position_state WHERE portfolio_id = 'P1' AND security_id = 'A' FOR UPDATE"
    )
    async with served(url) as running:

        async def others_are_current() -> bool:
            return (await read_status(database)).positions == {"CURRENT": 7, "BEHIND": 1}

        await until(others_are_current)
        told = running.loop.progress.trouble or ""
        assert (
            f"rows of position_state are locked by database session pid {session.get_server_pid()}"
            in told
        )
        assert "stage waits, everything else continues" in told
        assert not await running.loop.is_quiet()
        await session.execute("ROLLBACK")

        async def is_current() -> bool:
            return await running.loop.is_quiet() and (await read_status(database)).is_current

        await until(is_current)
        assert running.loop.progress.trouble is None
    await assert_all_correct(database)


async def test_a_locked_position_holds_up_corrections_and_nothing_else(
    url: str, database: Database, session: asyncpg.Connection
) -> None:
    await book_of_two_calendars(database)
    async with served(url) as running:

        async def is_current() -> bool:
            return await running.loop.is_quiet() and (await read_status(database)).is_current

        await until(is_current)
        await session.execute("BEGIN")
        await session.execute("SELECT FROM position_state WHERE portfolio_id = 'P1' FOR UPDATE")
        await execute(database, f"{CORRECTION} 'A'")

        async def is_told() -> bool:
            return "fan out waits" in (running.loop.progress.trouble or "")

        await until(is_told)
        await open_tomorrow(database)

        async def others_are_valued() -> bool:
            return await valued_through(database, "P2", "P3", "P4") == {TOMORROW}

        await until(others_are_valued)
        assert (await read_status(database)).triggers_queued
        await session.execute("ROLLBACK")
        await until(is_current)
    await assert_all_correct(database)


LOCK_ONE = "SELECT FROM position_state WHERE portfolio_id = 'P1' AND security_id = 'A' FOR UPDATE"
STATES = "SELECT portfolio_id || security_id, state::text FROM position_status"


@asynccontextmanager
async def one_locked_before_it_is_applied(
    database: Database, session: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, url: str
) -> AsyncIterator[Engine]:
    """A correction of A is valued; P1 A is locked before its results are applied."""
    await book_of_two_calendars(database)
    real, locked = apply.apply, asyncio.Event()

    async def lock_and_apply(*args: Any, **kwargs: Any) -> Any:
        if not locked.is_set():
            locked.set()
            await session.execute("BEGIN")
            await session.execute(LOCK_ONE)
        return await real(*args, **kwargs)

    async with served(url) as running:

        async def is_current() -> bool:
            return await running.loop.is_quiet() and (await read_status(database)).is_current

        await until(is_current)
        monkeypatch.setattr(apply, "apply", lock_and_apply)
        await execute(database, f"{CORRECTION} 'A'")

        async def is_told() -> bool:
            return "apply waits" in (running.loop.progress.trouble or "")

        await until(is_told)
        yield running


async def test_a_locked_position_holds_up_its_own_results_only(
    url: str, database: Database, session: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_locked_before_it_is_applied(database, session, monkeypatch, url) as running:

        async def others_are_current() -> bool:
            return await waiting(database) == {"P1A"}

        await until(others_are_current)
        told = running.loop.progress.trouble or ""
        pid = session.get_server_pid()
        assert f"rows of position_state are locked by database session pid {pid}" in told
        # A later correction is valued and applied while it lasts.
        await execute(database, f"{CORRECTION} 'B'")

        async def b_is_corrected() -> bool:
            return await fetch(
                database,
                "SELECT DISTINCT published_epoch FROM position_state WHERE security_id = 'B'",
            ) == [(1,)]

        await until(b_is_corrected)
        assert await waiting(database) == {"P1A"}
        assert not await running.loop.is_quiet()
        await session.execute("ROLLBACK")

        async def is_current() -> bool:
            return await running.loop.is_quiet() and (await read_status(database)).is_current

        await until(is_current)
        assert running.loop.progress.trouble is None
    await assert_all_correct(database)


async def waiting(database: Database) -> set[object]:
    return {name for name, state in await fetch(database, STATES) if state != "CURRENT"}


async def test_a_locked_position_does_not_keep_the_scheduler_from_stopping(
    url: str, database: Database, session: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next scheduler applies what this one has left."""
    async with one_locked_before_it_is_applied(database, session, monkeypatch, url):
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    assert await waiting(database) == {"P1A"}
    await session.execute("ROLLBACK")
    async with engine(url) as running:
        await running.settle()
    await assert_all_correct(database)


async def test_a_locked_position_does_not_keep_a_scheduler_from_beginning(
    url: str, database: Database, session: asyncpg.Connection
) -> None:
    """The one before has died after a task was committed and before it was applied."""
    await book_of_two_calendars(database)
    async with engine(url) as running:
        await running.settle()
        await execute(database, f"{CORRECTION} 'A'")
        capacity = fan_out.Capacity(running.reader, rows=1_000, task_rows=1_000)
        step = await fan_out.fan_out(running.term, capacity=capacity)
        assert step is not None
        for task in step.tasks:
            await running.pool.run(task)
    assert await waiting(database) == {f"P{n}A" for n in range(1, 5)}
    await session.execute("BEGIN")
    await session.execute(LOCK_ONE)
    async with served(url) as running:

        async def others_are_current() -> bool:
            return await waiting(database) == {"P1A"} and bool(running.loop.progress.trouble)

        await until(others_are_current)
        told = running.loop.progress.trouble or ""
        assert f"locked by database session pid {session.get_server_pid()}" in told
        assert "what was valued waits" in told
        assert not await running.loop.is_quiet()
        # It works meanwhile.
        await execute(database, f"{CORRECTION} 'B'")

        async def b_is_corrected() -> bool:
            return await fetch(
                database,
                "SELECT DISTINCT published_epoch FROM position_state WHERE security_id = 'B'",
            ) == [(1,)]

        await until(b_is_corrected)
        await session.execute("ROLLBACK")

        async def is_current() -> bool:
            return await running.loop.is_quiet() and (await read_status(database)).is_current

        await until(is_current)
        assert running.loop.progress.trouble is None
    await assert_all_correct(database)


@pytest.mark.parametrize(
    ("table", "is_idle"),
    [("business_dates", False), ("position_state", False), ("reprocessing_triggers", True)],
)
async def test_a_locked_table_is_told_with_who_has_locked_it(
    url: str, database: Database, session: asyncpg.Connection, table: str, is_idle: bool
) -> None:
    """As an ALTER TABLE that is not committed locks it. Reads have a bound too.

    An idle scheduler reads the queue of triggers alone, so the others are told when it needs them.
    """
    await book_of_two_calendars(database)
    await session.execute("BEGIN")
    async with served(url) as running:

        async def is_current() -> bool:
            return await running.loop.is_quiet() and (await read_status(database)).is_current

        await until(is_current)
        await session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        if is_idle:
            running.loop.wake()
        else:
            await execute(database, "UPDATE market_prices SET price = price + 1")
        pid = session.get_server_pid()

        async def is_told() -> bool:
            return f"by database session pid {pid}" in (running.loop.progress.trouble or "")

        await until(is_told)
        await session.execute("ROLLBACK")
        await until(is_current)
        assert running.loop.progress.trouble is None


async def test_a_read_of_a_locked_table_has_an_end(url: str, session: asyncpg.Connection) -> None:
    await session.execute("BEGIN")
    await session.execute("LOCK TABLE calendars")
    reader = ArrowReader(url, lock_seconds=1)

    def read(reader: ArrowReader) -> int:
        with reader.snapshot() as snapshot:
            return len(snapshot.read(Statement.parse("SELECT calendar_no FROM calendars")))

    with pytest.raises(WriteConflictError, match=f"held by .* pid {session.get_server_pid()} "):
        await reader.run(read)
    await session.execute("ROLLBACK")
    assert await reader.run(read) == 0
    reader.close()


OPENED = "SELECT calendar_id, opened_through FROM calendars ORDER BY 1"
OPENINGS = "SELECT calendar_id, opened_through FROM calendar_openings ORDER BY opening_id"
QUEUED = "SELECT kind FROM reprocessing_triggers WHERE fanned_out_at IS NULL"
HELD_BY = {
    "a business date": f"INSERT INTO business_dates VALUES ('OTHER', DATE '{TOMORROW}')",
    "an opening": f"UPDATE calendars SET opened_through = DATE '{DAYS[3]}' "
    "WHERE calendar_id = 'OTHER'",
}
LIMITS = {
    "a command": (lambda url: Database.open(url, lock_seconds=2), WriteConflictError),
    "the API": (
        lambda url: open_limited(
            url, timeout_seconds=2, connections=1, application="revalue serve"
        ),
        StatementCancelledError,
    ),
}


@pytest.mark.parametrize("held_by", HELD_BY)
@pytest.mark.parametrize("limit", LIMITS)
async def test_to_open_a_calendar_back_that_is_locked_ends_and_says_who_has_locked_it(
    url: str,
    database: Database,
    session: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
    limit: str,
    held_by: str,
) -> None:
    """Nothing is opened: the other calendar is not moved back either."""
    await book_of_two_calendars(database)
    async with engine(url) as running:
        await running.settle()
    before = [await fetch(database, query) for query in (OPENED, OPENINGS, QUEUED)]
    await session.execute("BEGIN")
    await session.execute(HELD_BY[held_by])
    pid = session.get_server_pid()
    opening, error = LIMITS[limit]
    async with await opening(url) as opened:
        begun = time.monotonic()
        with pytest.raises(error) as caught, caplog.at_level("WARNING", "revalue"):
            await open_calendars(opened, DAYS[-3], back=True)
        assert time.monotonic() - begun < 5
        told = str(caught.value)
        assert f"It waited for a lock that is held by database session pid {pid} " in told
        assert "(user postgres, application psql), in a transaction since 20" in told
        assert f"SELECT pg_terminate_backend({pid})" in told
        (warning,) = [record.getMessage() for record in caplog.records]
        assert "waits for a lock" in warning, "it is said while it waits too"
        assert f"pid {pid}" in warning
        assert [await fetch(database, query) for query in (OPENED, OPENINGS, QUEUED)] == before
        await session.execute("ROLLBACK")
        done = await open_calendars(opened, DAYS[-3], back=True)
        assert [each.business_days for each in done] == [-2, -2]
    async with engine(url) as running:
        await running.settle()
    assert await valued_through(database, "P1", "P2", "P3", "P4") == {DAYS[-3]}
    await assert_all_correct(database)
