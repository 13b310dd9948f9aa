"""What a task reads of rates does not grow with the years that are stored."""

from datetime import date
from typing import Any

import pytest

from revalue.engine.postgres.database import Database
from revalue.engine.value.inputs import sql
from tests.support import execute, fetch

CURRENCIES = ("AUD", "CAD", "CHF", "GBP", "JPY", "USD")
FIRST, LAST = date(2023, 6, 28), date(2023, 6, 30)
READ = """SELECT COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)
          FROM pg_stat_xact_user_tables WHERE relname = 'fx_rates'"""


@pytest.fixture
async def years(database: Database) -> Database:
    """Ten years of rates of six pairs, one of them without any in the last year."""
    await execute(
        database,
        """INSERT INTO fx_rates (base_currency, quote_currency, rate_date, rate)
           SELECT 'EUR', quote, day::date, 1 + extract(doy FROM day) / 1000
           FROM unnest($1::text[]) quote,
                generate_series('2014-01-01'::date, '2023-12-31', '1 day') day
           WHERE quote <> 'CHF' OR day < '2022-06-01'""",
        list(CURRENCIES),
    )
    await execute(database, "ANALYZE fx_rates")
    return database


async def read(database: Database, first: date, last: date) -> tuple[set[Any], int]:
    """The rates for a task with these dates, and how many stored ones were read for them."""
    async with database.transaction() as connection:
        rows = await sql("rates").fetch(connection, first_date=first, last_date=last)
        return {tuple(row) for row in rows}, await connection.fetchval(READ)


async def test_of_each_pair_the_last_rate_before_and_those_of_the_dates(years: Database) -> None:
    rows, rows_read = await read(years, FIRST, LAST)
    expected = await fetch(
        years,
        """SELECT b.currency_no, q.currency_no, r.rate_date, r.rate
           FROM fx_rates r
           JOIN currencies b ON b.currency = r.base_currency
           JOIN currencies q ON q.currency = r.quote_currency
           WHERE r.rate_date BETWEEN $1 AND $2
              OR r.quote_currency = 'CHF' AND r.rate_date = '2022-05-31'""",
        FIRST,
        LAST,
    )
    assert len(expected) == 5 * 3 + 1
    assert rows == {tuple(row) for row in expected}
    assert rows_read < 100
    nothing, _ = await read(years, date(2000, 1, 1), date(2000, 1, 2))
    assert nothing == set()
