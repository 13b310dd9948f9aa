"""A date that lacks data blocks nothing; a day that is closed again or taken out shows no number.

The right values are worked out by hand: 3 units of S, whose price may not be older than its day.
"""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal

import asyncpg
import polars as pl
import pytest

from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import CorrectionRefusedError
from revalue.engine.postgres.database import Database
from revalue.engine.read.frames import valuations
from revalue.engine.read.queries import ReaderQueries
from tests.support import (
    Engine,
    dates,
    engine,
    execute,
    facts,
    fetch,
    open_days,
    prices,
    weekdays,
)

MON, TUE, WED, THU, FRI, NEXT = (date(2024, 3, day) for day in (4, 5, 6, 7, 8, 11))
PRICES = {MON: "10", TUE: "11", THU: "13", FRI: "14", NEXT: "15"}


async def load_book(database: Database, *, max_age: int = 0) -> None:
    await load(database, Kind.BUSINESS_DATES, dates([MON, TUE, WED, THU, FRI, NEXT]))
    portfolio = {"portfolio_id": ["P"], "base_currency": ["USD"], "calendar_id": ["CAL"]}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame(portfolio))
    instrument = {"security_id": ["S"], "currency": ["USD"], "max_price_age_sessions": [max_age]}
    await load(database, Kind.INSTRUMENTS, pl.DataFrame(instrument))
    await load(database, Kind.PRICES, prices("S", PRICES))
    await load(database, Kind.POSITIONS, facts("P", "S", {MON: "3"}, cost="0"))


@pytest.fixture
async def running(url: str, database: Database) -> AsyncIterator[Engine]:
    await load_book(database)
    async with engine(url) as started:
        yield started


async def seen(database: Database) -> dict[date, int]:
    """Return the market values that readers see, by date."""
    rows = await fetch(database, "SELECT date, market_value FROM position_valuations")
    return {day: int(value) for day, value in rows}


async def state(database: Database) -> tuple[object, ...]:
    [row] = await fetch(
        database,
        """SELECT state, reprocessing_status, watermark_date, frontier_date, failure_reason
           FROM position_status""",
    )
    return row


HOLE = ("WAITING_FOR_DATA", "CURRENT", TUE, FRI, f"PRICE_TOO_OLD S {WED}")


async def test_days_opened_at_once_or_one_by_one_give_the_same_rows(
    running: Engine, database: Database
) -> None:
    await open_calendars(database, FRI)
    await running.settle()
    at_once = await seen(database)
    assert at_once == {MON: 30, TUE: 33, THU: 39, FRI: 42}
    assert await state(database) == HOLE
    await open_calendars(database, MON, back=True)
    for day in (TUE, WED, THU, FRI):
        await running.settle()
        await open_calendars(database, day)
    await running.settle()
    assert await seen(database) == at_once
    assert await state(database) == HOLE


async def test_corrections_and_new_days_behind_a_hole_are_seen(
    running: Engine, database: Database
) -> None:
    await open_calendars(database, FRI)
    await running.settle()
    await corrections.price(database, "S", MON, Decimal(100))
    await corrections.price(database, "S", FRI, Decimal(24))
    await running.settle()
    assert await seen(database) == {MON: 300, TUE: 33, THU: 39, FRI: 72}
    assert await state(database) == HOLE
    await open_calendars(database, NEXT)
    await running.settle()
    assert await seen(database) == {MON: 300, TUE: 33, THU: 39, FRI: 72, NEXT: 45}
    written = "SELECT count(*) FROM daily_position_snapshots"
    before = (await fetch(database, written))[0][0]
    await load(database, Kind.PRICES, prices("S", {WED: "12"}))
    await running.settle()
    assert await seen(database) == {MON: 300, TUE: 33, WED: 36, THU: 39, FRI: 72, NEXT: 45}
    assert (await fetch(database, written))[0][0] == before + 1, "it restates what it can reach"
    assert await state(database) == ("CURRENT", "CURRENT", NEXT, NEXT, None)


async def test_a_number_that_loses_its_price_is_shown_no_more(
    url: str, running: Engine, database: Database
) -> None:
    """Not the old number, and not 0: totals and lines name it."""
    await open_calendars(database, FRI)
    await running.settle()
    await execute(database, "DELETE FROM market_prices WHERE price_date = $1", THU)
    await running.settle()
    assert await seen(database) == {MON: 30, TUE: 33, FRI: 42}
    assert (await fetch(database, "SELECT holes::text FROM position_status")) == [
        (f"{{[{WED},{FRI})}}",)
    ]
    reading = await ReaderQueries.open(url, timeout_seconds=10, connections=1)
    _, [total] = await reading.totals("P", THU, THU)
    assert (total["market_value"], total["lines"], total["lines_valued"]) == (None, 1, 0)
    assert (total["lines_waiting"], total["without_value"]) == (1, ["S"])
    _, [line] = await reading.positions("P", THU)
    assert (line["valuation_status"], line["failure_reason"], line["market_value"]) == (
        "WAITING_FOR_DATA",
        f"PRICE_TOO_OLD S {THU}",
        None,
    )
    assert (line["first_hole"], line["last_hole"], line["frontier_date"]) == (WED, THU, FRI)
    await reading.close()


async def test_a_wrong_opening_is_undone_and_known_at_still_shows_it(
    running: Engine, database: Database
) -> None:
    await open_calendars(database, FRI)
    await running.settle()
    [[opened]] = await fetch(database, "SELECT clock_timestamp()")
    with pytest.raises(CorrectionRefusedError, match="pass --back"):
        await open_calendars(database, TUE)
    [moved] = await open_calendars(database, TUE, back=True)
    assert (moved.opened_through, moved.business_days) == (TUE, -3)
    await running.settle()
    assert await seen(database) == {MON: 30, TUE: 33}
    assert await state(database) == ("CURRENT", "CURRENT", TUE, TUE, None)
    was = await valuations(database, known_at=opened)
    assert was["date"].to_list() == [MON, TUE, THU, FRI]
    await corrections.price(database, "S", THU, Decimal(7))
    await open_calendars(database, THU)
    assert await seen(database) == {MON: 30, TUE: 33}, "the old number of Thursday is not back"
    await running.settle()
    assert await seen(database) == {MON: 30, TUE: 33, THU: 21}


@pytest.mark.parametrize("max_age", [0, 9])
async def test_a_business_day_that_is_taken_out_and_put_back(
    url: str, database: Database, max_age: int
) -> None:
    """With age 0 Wednesday is a hole; with age 9 it has Tuesday's price. No other row changes."""
    await load_book(database, max_age=max_age)
    await open_calendars(database, FRI)
    before = {MON: 30, TUE: 33, THU: 39, FRI: 42} | ({WED: 33} if max_age else {})
    count = "SELECT date, count(*) FROM daily_position_snapshots GROUP BY 1"
    async with engine(url) as running:
        await running.settle()
        assert await seen(database) == before
        await execute(database, "DELETE FROM business_dates WHERE business_date = $1", WED)
        await running.settle()
        assert await seen(database) == {day: before[day] for day in (MON, TUE, THU, FRI)}
        assert (await state(database))[0] == "CURRENT"
        await execute(
            database,
            "INSERT INTO business_dates (calendar_id, business_date) VALUES ('CAL', $1)",
            WED,
        )
        await running.settle()
        assert await seen(database) == before
    rows = dict(await fetch(database, count))
    assert rows == {MON: 1, TUE: 1, THU: 1, FRI: 1} | ({WED: 2} if max_age else {})


async def test_a_business_day_counts_in_the_ages_across_it_and_in_no_other(
    url: str, database: Database
) -> None:
    """A price may be one business day old. Tuesday between makes Monday's price too old for
    Wednesday; Friday has its own price and is not restated."""
    await load_book(database, max_age=1)
    await execute(
        database, "DELETE FROM market_prices WHERE price_date = ANY ($1)", [TUE, WED, THU]
    )
    await execute(database, "DELETE FROM business_dates WHERE business_date = ANY ($1)", [TUE, THU])
    await open_calendars(database, FRI)
    rows = "SELECT date, count(*) FROM daily_position_snapshots GROUP BY 1"
    async with engine(url) as running:
        await running.settle()
        assert await seen(database) == {MON: 30, WED: 30, FRI: 42}
        await load(database, Kind.BUSINESS_DATES, dates([TUE]))
        await running.settle()
        assert await seen(database) == {MON: 30, TUE: 30, FRI: 42}
        assert (await state(database))[-1] == f"PRICE_TOO_OLD S {WED}"
        assert dict(await fetch(database, rows)) == {MON: 1, TUE: 1, WED: 1, FRI: 1}
        await execute(database, "DELETE FROM business_dates WHERE business_date = $1", TUE)
        await running.settle()
        assert await seen(database) == {MON: 30, WED: 30, FRI: 42}
    assert dict(await fetch(database, rows)) == {MON: 1, TUE: 1, WED: 2, FRI: 1}


async def test_days_that_are_put_in_together_make_a_rate_too_old_for_the_day_after_them(
    url: str, database: Database
) -> None:
    """A rate may be one business day old. NEXT had Monday's rate; six days later it has none."""
    await load_book(database, max_age=9)
    days = [*weekdays(TUE, 4), date(2024, 3, 9)]
    await execute(database, "DELETE FROM business_dates WHERE business_date = ANY ($1)", days)
    await execute(database, "INSERT INTO business_dates VALUES ('CAL', $1)", date(2024, 3, 1))
    await execute(database, "UPDATE valuation_policy SET fx_max_age_sessions = 1")
    portfolio = {"portfolio_id": ["Q"], "base_currency": ["EUR"], "calendar_id": ["CAL"]}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame(portfolio))
    await execute(database, "INSERT INTO fx_rates VALUES ('USD', 'EUR', $1, 0.5)", MON)
    await load(database, Kind.POSITIONS, facts("Q", "S", {MON: "2"}, cost="0"))
    await open_calendars(database, NEXT)
    held = "SELECT date, market_value::integer FROM position_valuations WHERE portfolio_id = 'Q'"
    async with engine(url) as running:
        await running.settle()
        assert await fetch(database, held) == [(MON, 10), (NEXT, 15)]
        await load(database, Kind.BUSINESS_DATES, dates(days))
        await running.settle()
        assert await fetch(database, held) == [(MON, 10), (TUE, 11)]
        await execute(database, "DELETE FROM business_dates WHERE business_date = ANY ($1)", days)
        await running.settle()
        assert await fetch(database, held) == [(MON, 10), (NEXT, 15)]


async def test_a_business_day_put_in_by_a_writer_who_reads_old_prices(
    url: str, database: Database, connection: asyncpg.Connection
) -> None:
    """A price may be one business day old. The writer of Wednesday still sees Thursday's price."""
    await load_book(database, max_age=1)
    await execute(database, "DELETE FROM business_dates WHERE business_date = $1", WED)
    await open_calendars(database, FRI)
    async with engine(url) as running:
        await running.settle()
        async with connection.transaction(isolation="repeatable_read"):
            assert await connection.fetchval("SELECT count(*) FROM market_prices") == len(PRICES)
            await execute(database, "DELETE FROM market_prices WHERE price_date = $1", THU)
            await running.settle()
            assert await seen(database) == {MON: 30, TUE: 33, THU: 33, FRI: 42}
            await connection.execute("INSERT INTO business_dates VALUES ('CAL', $1)", WED)
        await running.settle()
        assert await seen(database) == {MON: 30, TUE: 33, WED: 33, FRI: 42}


async def test_limits_of_age_that_are_as_great_as_can_be(url: str, database: Database) -> None:
    await load_book(database, max_age=9)
    await execute(database, "DELETE FROM business_dates WHERE business_date = $1", WED)
    for statement in (
        "UPDATE instruments SET max_price_age_sessions = 2147483647",
        "UPDATE valuation_policy SET fx_max_age_sessions = 2147483647",
    ):
        await execute(database, statement)
    await open_calendars(database, FRI)
    async with engine(url) as running:
        await running.settle()
        await load(database, Kind.BUSINESS_DATES, dates([WED]))
        await running.settle()
    assert await seen(database) == {MON: 30, TUE: 33, WED: 33, THU: 39, FRI: 42}


async def waits_for_friday_and_next(database: Database, running: Engine) -> None:
    """A price of Wednesday keeps Thursday's; Friday and Monday lack theirs: one hole of four days,
    with a weekend in it."""
    await execute(database, "DELETE FROM market_prices WHERE price_date >= $1", FRI)
    await load(database, Kind.PRICES, prices("S", {WED: "12"}))
    await open_calendars(database, NEXT)
    await running.settle()
    assert await fetch(database, HOLES) == [(f"{{[{FRI},{NEXT + timedelta(1)})}}",)]


HOLES = "SELECT holes::text FROM position_state"
SUN = date(2024, 3, 10)


async def test_a_hole_does_not_leave_a_weekend_behind_when_its_prices_come(
    running: Engine, database: Database
) -> None:
    await waits_for_friday_and_next(database, running)
    await load(database, Kind.PRICES, prices("S", {NEXT: "15"}))
    await running.settle()
    assert (await state(database))[-1] == f"PRICE_TOO_OLD S {FRI}"
    await load(database, Kind.PRICES, prices("S", {FRI: "14"}))
    await running.settle()
    assert await state(database) == ("CURRENT", "CURRENT", NEXT, NEXT, None)


async def test_a_hole_does_not_leave_a_weekend_behind_when_its_day_is_taken_out(
    running: Engine, database: Database
) -> None:
    await waits_for_friday_and_next(database, running)
    await load(database, Kind.PRICES, prices("S", {NEXT: "15"}))
    await execute(database, "DELETE FROM business_dates WHERE business_date = $1", FRI)
    await running.settle()
    assert await state(database) == ("CURRENT", "CURRENT", NEXT, NEXT, None)
    assert await seen(database) == {MON: 30, TUE: 33, WED: 36, THU: 39, NEXT: 45}


async def test_a_hole_does_not_leave_a_weekend_behind_when_its_position_is_corrected(
    running: Engine, database: Database
) -> None:
    """It is closed on Friday; Sunday's record opens it again, with a price on Monday."""
    await load(database, Kind.POSITIONS, facts("P", "S", {SUN: "4"}, cost="0"))
    await waits_for_friday_and_next(database, running)
    await load(database, Kind.PRICES, prices("S", {NEXT: "15"}))
    await running.settle()
    assert (await state(database))[-1] == f"PRICE_TOO_OLD S {FRI}"
    await load(database, Kind.POSITIONS, facts("P", "S", {FRI: "0"}, cost="0"))
    await running.settle()
    assert await state(database) == ("CURRENT", "CURRENT", NEXT, NEXT, None)
    assert (await seen(database))[NEXT] == 60


async def test_a_mistyped_day_far_ahead_harms_nothing(running: Engine, database: Database) -> None:
    await load(database, Kind.BUSINESS_DATES, dates([date(2042, 3, 8)]))
    await open_calendars(database, FRI)
    await running.settle()
    assert await state(database) == HOLE
    await execute(database, "DELETE FROM business_dates WHERE business_date > '2042-01-01'")
    await open_days(database, [NEXT])
    await running.settle()
    assert await fetch(database, "SELECT epoch, frontier_date FROM position_state") == [(0, NEXT)]
