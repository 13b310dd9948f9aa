"""Snapshots are partitioned by month.

A partition is there when a day of it is opened, whichever tool opens it and whoever opens another
one meanwhile; neither readers nor valuations wait for it; and what names its dates reads no others.
"""

import asyncio
from datetime import date, timedelta
from decimal import Decimal

import asyncpg
import polars as pl
import pytest

from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import DatabaseSetupError
from revalue.engine.postgres.bulk_copy import encode_binary_copy
from revalue.engine.postgres.database import Database
from revalue.engine.preview.preview import sql as preview_sql
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.read.queries import sql as read_sql
from revalue.engine.value.stores import encode_snapshots
from tests.support import (
    DAYS,
    dates,
    engine,
    execute,
    fetch,
    load_small_book,
    open_days,
    until,
    weekdays,
)

PARTITIONS = "SELECT partition::text, first_date, end_date FROM snapshot_partitions ORDER BY 2"
STORED = "SELECT tableoid::regclass::text, count(*) FROM daily_position_snapshots GROUP BY 1"
YEAR = weekdays(DAYS[0], 262)
"""The business days of 2024, which the small book begins with."""


def name(suffix: str) -> str:
    return f"daily_position_snapshots_{suffix}"


async def names(database: Database) -> list[str]:
    return [row[0].removeprefix(name("")) for row in await fetch(database, PARTITIONS)]


async def test_opened_days_have_partitions_and_loaded_ones_have_none(database: Database) -> None:
    await load(database, Kind.BUSINESS_DATES, dates(YEAR))
    assert await names(database) == []
    await open_calendars(database, date(2024, 1, 31), ["CAL"])
    await open_calendars(database, date(2024, 3, 1), ["CAL"])
    assert await fetch(database, PARTITIONS) == [
        (name("2024_01"), date(2024, 1, 1), date(2024, 2, 1)),
        (name("2024_02"), date(2024, 2, 1), date(2024, 3, 1)),
        (name("2024_03"), date(2024, 3, 1), date(2024, 4, 1)),
    ]
    # By psql; back again; and a date that is put in among the opened ones.
    await execute(database, "UPDATE calendars SET opened_through = '2024-04-30'")
    await execute(database, "UPDATE calendars SET opened_through = '2024-01-31'")
    await execute(database, "UPDATE calendars SET opened_through = '2024-02-29'")
    assert (await names(database))[3:] == ["2024_04"]
    await execute(
        database,
        """INSERT INTO business_dates (calendar_id, business_date)
           VALUES ('CAL', '2023-11-30'), ('CAL', '2024-06-08')""",
    )
    assert (await names(database))[:2] == ["2023_11", "2024_01"]
    await execute(
        database,
        "UPDATE business_dates SET business_date = '2023-10-31' WHERE business_date = '2023-11-30'",
    )
    assert (await names(database))[:2] == ["2023_10", "2023_11"]


async def test_years_of_long_ago_have_one_partition_each(database: Database) -> None:
    first = [date(year, month, 15) for year in range(1964, 2025) for month in (1, 2)]
    await open_days(database, first)
    years = [str(year) for year in range(1964, 2014)]
    assert await names(database) == [
        *years,
        *(f"{year}_{month:02}" for year in range(2014, 2025) for month in (1, 2)),
    ]
    # A year that has a month stays in months.
    await open_days(database, [*first, date(2030, 1, 15)])
    await load(database, Kind.BUSINESS_DATES, dates([date(2014, 7, 1), date(1970, 7, 1)]))
    assert len(await names(database)) == len(years) + 22 + 2
    assert {"2014_07", "2030_01"} < set(await names(database))


async def test_rows_are_in_their_months_and_sorted_by_date_and_position(
    url: str, database: Database
) -> None:
    days = weekdays(DAYS[15], 20)
    await load_small_book(database, portfolios=3, days=days)
    async with engine(url) as running:
        await running.settle()
    assert sorted(await fetch(database, STORED)) == [
        (name("2024_01"), 6 * 8), (name("2024_02"), 6 * 12),
    ]  # fmt: skip
    stored = await fetch(
        database, "SELECT date, position_id FROM daily_position_snapshots ORDER BY tableoid, ctid"
    )
    assert [row[1] for row in stored[:12]] == [1, 2, 3, 4, 5, 6] * 2
    assert [row[0] for row in stored[:12]] == [days[0]] * 6 + [days[1]] * 6
    [(key,)] = await fetch(
        database,
        """SELECT pg_get_constraintdef(oid) FROM pg_constraint
           WHERE conrelid = 'daily_position_snapshots'::regclass AND contype = 'p'""",
    )
    assert key == "PRIMARY KEY (date, position_id, epoch)"


def test_each_month_is_a_copy_of_its_own() -> None:
    """A server that has many partitions open in one statement takes a third longer."""
    days = [date(2024, 1, 31), date(2024, 2, 2), date(2024, 2, 2), date(2025, 2, 3)]
    rows = pl.DataFrame({"position_id": [1, 1, 2, 1], "date": days})
    parts = (rows[:1], rows[1:3], rows[3:])
    assert encode_snapshots(rows) == [encode_binary_copy(part) for part in parts]
    assert encode_snapshots(rows[:0]) == encode_snapshots(pl.DataFrame()) == []


async def test_an_opening_that_is_not_committed_keeps_nobody_waiting_but_its_like(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    for calendar in ("OTHER", "THIRD"):
        await load(database, Kind.BUSINESS_DATES, dates(YEAR, calendar))
    one, other = await asyncpg.connect(url), await asyncpg.connect(url)
    opened = one.transaction()
    await opened.start()
    opening = "UPDATE calendars SET opened_through = $1 WHERE calendar_id = $2"
    await one.execute(opening, date(2024, 2, 1), "OTHER")
    # Valuations, corrections and readers go on.
    async with engine(url) as running, asyncio.timeout(60):
        await running.settle()
        await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
        await running.settle()
    assert await fetch(database, "SELECT count(*) FROM position_valuations") == [(2 * len(DAYS),)]
    assert await names(database) == ["2024_01"]
    # Who opens another calendar through a day of that month waits for the partition, and has it.
    second = asyncio.create_task(other.execute(opening, date(2024, 2, 2), "THIRD"))
    blocked = "SELECT cardinality(pg_blocking_pids($1)) > 0"
    third = await asyncpg.connect(url)
    await until(lambda: third.fetchval(blocked, other.get_server_pid()), work=second)
    await opened.commit()
    await second
    assert await names(database) == ["2024_01", "2024_02"]
    for each in (one, other, third):
        await each.close()


async def test_a_partition_that_was_dropped_stops_the_engine_and_comes_back_with_the_next(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await execute(database, f"DROP TABLE {name('2024_01')}")
        with pytest.raises(DatabaseSetupError, match=r"has no partition for a row: .*2024-01-01"):
            await running.settle()
    assert await fetch(database, "SELECT count(*) FROM dead_letters") == [(0,)]
    async with engine(url) as running:
        await running.settle()
    assert await fetch(database, "SELECT count(*) FROM position_valuations") == [(2 * len(DAYS),)]


async def test_the_engine_may_make_partitions_and_nobody_reads_one_past_the_table(
    url: str, database: Database
) -> None:
    await open_days(database, YEAR)
    for role in ("reader", "writer", "engine"):
        connection = await asyncpg.connect(url)
        await connection.execute(f"SET ROLE revalue_{role}")
        for statement in (
            f"SELECT FROM {name('2024_01')}",
            f"INSERT INTO {name('2024_01')} SELECT * FROM daily_position_snapshots",
            f"DROP TABLE {name('2024_01')}",
            "SELECT make_snapshot_partition('2030-01-01')",
            *(["SELECT make_snapshot_partitions()"] if role != "engine" else []),
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        if role == "engine":
            await connection.execute("SELECT make_snapshot_partitions()")
            await connection.execute(
                "INSERT INTO business_dates (calendar_id, business_date) "
                "VALUES ('CAL', '2025-01-06')"
            )
            await connection.execute("UPDATE calendars SET opened_through = '2025-01-06'")
            assert (await names(database))[-1] == "2025_01"
        await connection.close()


async def test_readers_plan_only_the_months_that_they_name(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=1)
    await open_days(database, YEAR)
    last = DAYS[-1]
    asked = {"portfolio": "P1", "known_at": None}
    of_position = {**asked, "security": "A"}
    january = {"first_date": DAYS[0], "last_date": last}
    of_date = {"portfolio": "P1", "security": "A", "date": last}
    for statement, values in (
        (read_sql("positions"), {**asked, "date": last, "after": "", "limit": 9}),
        (read_sql("totals"), {**asked, **january, "limit": 9}),
        (read_sql("history"), {**of_position, **january, "after": date.min, "limit": 9}),
        (read_sql("valuations"), {**asked, **january, "security": None}),
        (read_sql("changes"), {**of_date, "in_lake": None, "limit": 9}),
        (read_sql("explain_stored"), of_date),
    ):
        async with database.connection() as connection:
            plan = await connection.fetch(
                f"EXPLAIN {statement.positional}", *(values[each] for each in statement.parameters)
            )
        read = {word for row in plan for word in row[0].split() if word.startswith(name("2"))}
        assert {table.removesuffix("_pkey") for table in read} == {name("2024_01")}, statement.name


async def test_the_past_of_a_position_is_looked_up_date_by_date(
    url: str, database: Database
) -> None:
    """In every version of PostgreSQL: those before 18 would read all positions of all dates."""
    await load_small_book(database, portfolios=9)
    async with engine(url) as running:
        await running.settle()
    # A date that has left the calendar is still seen until its withdrawal is published.
    await execute(database, "DELETE FROM business_dates WHERE business_date = $1", DAYS[9])
    await execute(database, "INSERT INTO business_dates VALUES ('CAL', $1)", DAYS[9])
    await execute(database, "DELETE FROM business_dates WHERE business_date = $1", DAYS[9])
    queries = ReaderQueries(database)
    _, found = await queries.history("P1", "A", DAYS[0], DAYS[-1])
    assert [row["date"] for row in found] == DAYS
    query = preview_sql("published_rows").rendered(
        positions=[1, 2],
        first_days=[(DAYS[5] - date(1970, 1, 1)).days] * 2,
        last_days=[(DAYS[10] - date(1970, 1, 1)).days] * 2,
    )
    seen = await fetch(database, query)
    assert sorted(row[:2] for row in seen) == [
        (position, day) for position in (1, 2) for day in DAYS[5:11]
    ]
    history = read_sql("history")
    given = {
        "portfolio": "P1", "security": "A", "known_at": None, "after": date.min, "limit": 100,
        "first_date": DAYS[0], "last_date": DAYS[-1],
    }  # fmt: skip
    for statement, values in (
        (history.positional, [given[each] for each in history.parameters]),
        (query, []),
    ):
        async with database.connection() as connection:
            await connection.execute("SET enable_seqscan = off")
            plan = await connection.fetch(f"EXPLAIN {statement}", *values)
        conditions = [
            row[0]
            for row in plan
            if "(date = b.business_date)" in row[0] and "position_id =" in row[0]
        ]
        assert len(conditions) == 1, "\n".join(row[0] for row in plan)
    async with engine(url) as running:
        await running.settle()
    _, found = await queries.history("P1", "A", DAYS[0], DAYS[-1] + timedelta(days=9))
    assert [row["date"] for row in found] == [day for day in DAYS if day != DAYS[9]]
