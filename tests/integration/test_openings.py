"""Calendars hold years; a day is valued once it is opened.

Loading business dates makes nothing due, opening does, whichever tool opens; and what was opened at
an earlier time can be asked for.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import polars as pl
import pytest

from revalue.console.reference.reference import compare, read_book
from revalue.engine.correct.calendars.openings import Opening, open_calendars
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import (
    CorrectionRefusedError,
    InvalidInputError,
    NotFoundError,
    UsageError,
)
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from revalue.engine.read.queries import ReaderQueries
from tests.support import (
    DAYS,
    dates,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
    weekdays,
)

NEXT = weekdays(DAYS[-1] + timedelta(days=1), 260)
"""A year of business days after those of the small book."""

MISTYPED = date(2062, 1, 29)
STATES = "SELECT state, count(*), max(watermark_date) FROM position_status GROUP BY 1"
REASONS = "SELECT DISTINCT failure_reason FROM position_status"
OPENED = "SELECT calendar_id, opened_through FROM calendars ORDER BY 1"
QUEUED = "SELECT kind FROM reprocessing_triggers WHERE fanned_out_at IS NULL ORDER BY 1"


async def rows(database: Database) -> list[tuple[Any, ...]]:
    return await fetch(
        database, "SELECT position_id, date, epoch FROM position_valuations ORDER BY 1, 2"
    )


async def agrees(database: Database) -> int:
    async with database.connection() as connection:
        found = await compare(connection, await read_book(connection))
    assert found.agrees, "\n".join(found.examples)
    return found.rows_compared


async def test_a_year_of_days_ahead_is_loaded_and_nothing_is_due(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        before = await rows(database)
        await load(database, Kind.BUSINESS_DATES, dates([*NEXT, MISTYPED]))
        assert await fetch(database, QUEUED) == []
        await running.settle()
        assert await rows(database) == before
        assert await fetch(database, STATES) == [("CURRENT", 4, DAYS[-1])]
        assert (await read_status(database)).horizon == DAYS[-1]
        # A typing error is removed as it came.
        await execute(database, "DELETE FROM business_dates WHERE business_date = $1", MISTYPED)
        await running.settle()
        assert await rows(database) == before
    assert ("CALENDAR",) not in await fetch(database, "SELECT kind FROM reprocessing_triggers")
    assert await agrees(database) == len(before)


async def test_ages_are_counted_over_days_that_were_loaded_ahead(
    url: str, database: Database
) -> None:
    """The age limit of A and B is 3: without a price the fourth day waits."""
    await load_small_book(database, portfolios=1)
    await load(database, Kind.BUSINESS_DATES, dates(NEXT))
    await execute(
        database,
        "INSERT INTO fx_rates SELECT 'EUR', 'USD', d, 1.2 FROM unnest($1::date[]) d",
        NEXT[:10],
    )
    async with engine(url) as running:
        await running.settle()
        for day in NEXT[:3]:
            await open_calendars(database, day)
            await running.settle()
        assert await fetch(database, STATES) == [("CURRENT", 2, NEXT[2])]
        await open_calendars(database, NEXT[3])
        await running.settle()
        waiting = [(f"PRICE_TOO_OLD {security} {NEXT[3]}",) for security in ("A", "B")]
        assert sorted(await fetch(database, REASONS)) == waiting
        for security in ("A", "B"):
            await load(database, Kind.PRICES, prices(security, {NEXT[4]: "70"}))
        await open_calendars(database, NEXT[4])
        await running.settle()
        assert sorted(await fetch(database, REASONS)) == waiting
        for security in ("A", "B"):
            await load(database, Kind.PRICES, prices(security, {NEXT[3]: "69"}))
        await running.settle()
    assert await fetch(database, STATES) == [("CURRENT", 2, NEXT[4])]
    assert await agrees(database) == 2 * (len(DAYS) + 5)


async def test_opening_values_exactly_the_days_that_are_opened(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    await load(database, Kind.BUSINESS_DATES, dates(NEXT))
    async with engine(url) as running:
        await running.settle()
        assert await open_calendars(database, NEXT[1], ["CAL"]) == [
            Opening("CAL", DAYS[-1], NEXT[1], 2)
        ]
        await running.settle()
        assert {day for _, day, _ in await rows(database) if day > DAYS[-1]} == set(NEXT[:2])
        assert {epoch for _, _, epoch in await rows(database)} == {0}
        # Again: nothing changes, and nothing is recorded.
        assert await open_calendars(database, NEXT[1]) == [Opening("CAL", NEXT[1], NEXT[1], 0)]
    recorded = "SELECT opened_through FROM calendar_openings ORDER BY opening_id"
    assert await fetch(database, recorded) == [(DAYS[-1],), (NEXT[1],)]


async def load_two_calendars(database: Database) -> None:
    """P1 on CAL, whose days are NEXT without the second; Q on OTHER, whose days are all of NEXT."""
    await load_small_book(database, portfolios=1)
    await load(database, Kind.BUSINESS_DATES, dates([NEXT[0], *NEXT[2:]]))
    await load(database, Kind.BUSINESS_DATES, dates([*DAYS, *NEXT], "OTHER"))
    await load(
        database,
        Kind.PORTFOLIOS,
        pl.DataFrame({"portfolio_id": ["Q"], "base_currency": ["USD"], "calendar_id": ["OTHER"]}),
    )
    await load(database, Kind.POSITIONS, facts("Q", "A", {DAYS[0]: "5"}))


async def test_opening_one_calendar_leaves_the_other(url: str, database: Database) -> None:
    await load_two_calendars(database)
    watermarks = (
        "SELECT portfolio_id, min(watermark_date) FROM position_status GROUP BY 1 ORDER BY 1"
    )
    async with engine(url) as running:
        await running.settle()
        # Nothing of OTHER is opened: nothing of Q is due.
        assert (await read_status(database)).calendars_not_opened == ("OTHER",)
        assert await fetch(database, watermarks) == [("P1", DAYS[-1]), ("Q", None)]
        assert await fetch(database, "SELECT DISTINCT state FROM position_status") == [("CURRENT",)]
        await open_calendars(database, DAYS[3], ["OTHER"])
        await running.settle()
    assert await fetch(database, watermarks) == [("P1", DAYS[-1]), ("Q", DAYS[3])]
    assert await fetch(database, OPENED) == [("CAL", DAYS[-1]), ("OTHER", DAYS[3])]
    assert await agrees(database) == 2 * len(DAYS) + 4


async def test_all_calendars_open_through_their_last_day_at_or_before_the_date(
    database: Database,
) -> None:
    """NEXT[1] is a holiday of CAL."""
    await load_two_calendars(database)
    await load(database, Kind.BUSINESS_DATES, dates(DAYS[:2], "ENDED"))  # of no portfolio
    await load(database, Kind.BUSINESS_DATES, dates(NEXT[5:], "LATER"))
    assert await open_calendars(database, NEXT[1]) == [
        Opening("CAL", DAYS[-1], NEXT[0], 1),
        Opening("ENDED", None, None, 0),
        Opening("LATER", None, None, 0),
        Opening("OTHER", None, NEXT[1], len(DAYS) + 2),
    ]
    # On its holiday, once more: CAL stays where it is.
    assert [each.business_days for each in await open_calendars(database, NEXT[1])] == [0, 0, 0, 0]


REFUSED: dict[str, tuple[date, list[str] | None, type[Exception], str]] = {
    "a day that is no business date": (
        NEXT[1],
        ["OTHER", "CAL"],
        InvalidInputError,
        f"{NEXT[1]} is not a business date of calendar CAL: the one before it is {NEXT[0]}, "
        f"the one after it is {NEXT[2]}",
    ),
    "a day before the first": (
        DAYS[0] - timedelta(days=1),
        ["OTHER"],
        InvalidInputError,
        f"the one before it is none, the one after it is {DAYS[0]}",
    ),
    "a day after the last": (
        MISTYPED,
        None,
        InvalidInputError,
        f"calendar CAL has business dates through {NEXT[-1]} only: load them up to {MISTYPED}",
    ),
    "back": (
        DAYS[3],
        None,
        CorrectionRefusedError,
        f"calendar CAL is opened through {DAYS[-1]}, which is after {DAYS[3]}",
    ),
    "an unknown calendar": (NEXT[0], ["CAL", "NONE"], NotFoundError, "no calendar 'NONE'"),
    "no calendar": (NEXT[0], [], UsageError, "no calendar is named"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_opened_is_refused_as_a_whole(case: str, database: Database) -> None:
    day, calendars, error, message = REFUSED[case]
    await load_two_calendars(database)
    before = await fetch(database, OPENED)
    with pytest.raises(error, match=message):
        await open_calendars(database, day, calendars)
    assert await fetch(database, OPENED) == before


async def test_without_a_calendar_there_is_nothing_to_open(database: Database) -> None:
    with pytest.raises(NotFoundError, match="revalue load business_dates"):
        await open_calendars(database, DAYS[0])


async def test_any_tool_opens_by_an_update(url: str, database: Database) -> None:
    """A plain connection of the driver stands for psql."""
    await load_small_book(database, portfolios=1)
    await load(database, Kind.BUSINESS_DATES, dates(NEXT[:3]))
    tool = await asyncpg.connect(url)
    for wrong, message in {
        f"'{NEXT[5]}'": f"the one before it is {NEXT[2]}, the one after it is none",
        f"'{DAYS[4] + timedelta(days=1)}'": f"the one before it is {DAYS[4]}",
        "NULL": "cannot be closed as a whole",
    }.items():
        with pytest.raises(asyncpg.RestrictViolationError, match=message):
            await tool.execute(f"UPDATE calendars SET opened_through = {wrong}")
    with pytest.raises(asyncpg.RestrictViolationError, match="not a business date of calendar NEW"):
        await tool.execute(
            "INSERT INTO calendars (calendar_id, opened_through) VALUES ('NEW', '2024-01-02')"
        )
    async with engine(url) as running:
        await running.settle()
        listener = await asyncpg.connect(url)
        heard: list[str] = []
        await listener.add_listener("revalue_wake", lambda *_: heard.append("woken"))
        revision = "SELECT revision FROM calendars"
        [[before]] = await fetch(database, revision)
        await tool.execute(f"UPDATE calendars SET opened_through = '{NEXT[0]}'")
        assert await fetch(database, revision) == [(before + 1,)]
        await listener.fetchval("SELECT 1")
        assert heard
        await listener.close()
        await running.settle()
    recorded = (
        "SELECT opened_through, opened_by, moment_id IS NULL FROM calendar_openings ORDER BY 1"
    )
    assert (await fetch(database, recorded))[-1] == (NEXT[0], "postgres", False)
    assert await fetch(database, STATES) == [("CURRENT", 2, NEXT[0])]
    await tool.close()


async def test_known_at_before_an_opening_shows_the_horizon_of_that_time(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    await load(database, Kind.BUSINESS_DATES, dates(NEXT))
    times: list[tuple[datetime, date]] = []
    async with engine(url) as running:
        for day in (DAYS[-1], NEXT[0], NEXT[3]):
            if day > DAYS[-1]:
                await open_calendars(database, day)
            await running.settle()
            [[now]] = await fetch(database, "SELECT clock_timestamp()")
            times.append((now, day))
    queries = ReaderQueries(database)
    for known_at, horizon in [*times, (None, NEXT[3])]:
        head, lines = await queries.positions("P1", NEXT[9], known_at=known_at)
        assert (head["horizon"], {line["date"] for line in lines}) == (horizon, {horizon})
        _, totals = await queries.totals("P1", DAYS[-2], NEXT[9], known_at=known_at)
        expected = [day for day in (*DAYS[-2:], *NEXT) if day <= horizon]
        assert [total["date"] for total in totals] == expected
        head, _ = await queries.history("P1", "A", DAYS[0], NEXT[9], known_at=known_at)
        assert head["horizon"] == horizon
    first, _ = await queries.positions("P1", NEXT[9], known_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert first["horizon"] is None


async def test_a_calendar_without_positions_or_dates_holds_nothing_up(
    url: str, database: Database
) -> None:
    """A calendar of which nothing is opened keeps the live lane of the others going."""
    await load_small_book(database, portfolios=1)
    await execute(database, "INSERT INTO calendars (calendar_id) VALUES ('EMPTY')")
    await load(database, Kind.BUSINESS_DATES, dates(NEXT, "AHEAD"))
    async with engine(url) as running:
        await running.settle()
        await open_days(database, NEXT[:1])
        await running.settle()
    lanes = await fetch(
        database, "SELECT lane::text, count(*) FROM job_spans GROUP BY 1 ORDER BY 1"
    )
    assert lanes == [("HISTORY", 2), ("LIVE", 2)]
