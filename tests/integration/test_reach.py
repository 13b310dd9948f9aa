"""Which dates a write of many prices or rates reaches, against the definition and not the SQL."""

import random
from datetime import date, timedelta

import pytest

from revalue.engine.postgres.database import Database
from tests.support import DAYS, execute, fetch

_DAYS = [DAYS[0] + timedelta(days=n) for n in range(30)]
_Series = set[tuple[str, date]]

_PRICES = (
    ("A", "B"),
    """INSERT INTO market_prices (security_id, price_date, price, currency, quote_basis)
       SELECT name, day, 7, 'USD', 'PER_UNIT'
       FROM unnest($1::text[], $2::date[]) AS u (name, day)""",
    """DELETE FROM market_prices
       WHERE (security_id, price_date) IN (SELECT * FROM unnest($1::text[], $2::date[]))""",
    """UPDATE market_prices SET price = price + 1
       WHERE (security_id, price_date) IN (SELECT * FROM unnest($1::text[], $2::date[]))""",
)
_RATES = (
    ("USD", "CHF"),
    """INSERT INTO fx_rates (base_currency, quote_currency, rate_date, rate)
       SELECT 'EUR', name, day, 7 FROM unnest($1::text[], $2::date[]) AS u (name, day)""",
    """DELETE FROM fx_rates
       WHERE (quote_currency, rate_date) IN (SELECT * FROM unnest($1::text[], $2::date[]))""",
    """UPDATE fx_rates SET rate = rate + 1
       WHERE (quote_currency, rate_date) IN (SELECT * FROM unnest($1::text[], $2::date[]))""",
)


def _carried(known: _Series, name: str, day: date) -> tuple[str, date | None]:
    return name, max((when for other, when in known if other == name and when <= day), default=None)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("names", "insert", "delete", "update"), [_PRICES, _RATES], ids=["prices", "rates"]
)
async def test_a_day_is_reached_where_what_is_carried_to_it_before_or_after_has_changed(
    database: Database, names: tuple[str, str], insert: str, delete: str, update: str, seed: int
) -> None:
    await execute(
        database,
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           VALUES ('A', 'USD', 5), ('B', 'USD', 5)""",
    )
    draw = random.Random(seed)
    known: _Series = set()
    for statement in (insert, update, delete) * 4:
        every = {(name, day) for name in names for day in _DAYS}
        among = every - known if statement == insert else known
        changed = {pair for pair in sorted(among) if draw.random() < draw.choice((0.1, 0.5))}
        after = (
            known | changed
            if statement == insert
            else known - changed
            if statement == delete
            else known
        )
        await execute(
            database, statement, [name for name, _ in changed], [day for _, day in changed]
        )
        reached = await fetch(
            database,
            """WITH said AS (
                   DELETE FROM reprocessing_triggers
                   RETURNING COALESCE(security_id, quote_currency) AS name, dates)
               SELECT name, day::date FROM said, generate_series($1::date, $2::date, '1 day') AS day
               WHERE day::date <@ dates""",
            _DAYS[0],
            _DAYS[-1],
        )
        assert sorted(reached) == sorted(
            (name, day)
            for name, day in every
            if {_carried(known, name, day), _carried(after, name, day)} & changed
        )
        known = after


async def test_a_large_statement_is_recorded_in_linear_time_after_a_small_one(
    database: Database,
) -> None:
    """The functions of the database triggers keep the plans of the first statement of a session."""
    securities = 12_000  # two runs of each are more than one batch
    await execute(
        database,
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           SELECT 'S' || n, 'USD', 5 FROM generate_series(1, $1) AS n""",
        securities,
    )
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL statement_timeout = '20s'")
        insert = """INSERT INTO market_prices
                    SELECT 'S' || n, $2::date + d, 7, 'USD', 'PER_UNIT'
                    FROM generate_series(1, $1) AS n, generate_series(0, 2) AS d"""
        await connection.execute(insert, 1, DAYS[0])
        await connection.execute("DELETE FROM market_prices WHERE price_date <> $1", DAYS[0])
        await connection.execute("UPDATE market_prices SET price = 8")  # one row
        await connection.execute("DELETE FROM market_prices")
        await connection.execute(insert, securities, DAYS[0])
        await connection.execute("DELETE FROM reprocessing_triggers")
        await connection.execute(
            "UPDATE market_prices SET price = 9 WHERE price_date <> $1", DAYS[0] + timedelta(1)
        )
        recorded = await connection.fetch(
            "SELECT count(*), count(DISTINCT security_id), min(dates::text), max(dates::text) "
            "FROM reprocessing_triggers"
        )
    first, third = DAYS[0], DAYS[0] + timedelta(2)
    reach = f"{{[{first},{first + timedelta(1)}),[{third},)}}"
    assert [tuple(row) for row in recorded] == [(securities, securities, reach, reach)]


@pytest.mark.parametrize(
    "move",
    ["price_date = price_date + 2", "security_id = 'B'"],
    ids=["to another date", "to another security"],
)
async def test_a_price_that_is_moved_reaches_from_its_old_place_and_from_its_new_one(
    database: Database, move: str
) -> None:
    await execute(
        database,
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           VALUES ('A', 'USD', 5), ('B', 'USD', 5)""",
    )
    await execute(
        database,
        """INSERT INTO market_prices SELECT 'A', day, 7, 'USD', 'PER_UNIT'
           FROM unnest($1::date[]) AS day""",
        [_DAYS[0], _DAYS[2], _DAYS[3], _DAYS[5]],
    )
    await execute(database, "DELETE FROM reprocessing_triggers")
    await execute(
        database, f"UPDATE market_prices SET {move} WHERE price_date = $1::date", _DAYS[2]
    )
    found = await fetch(
        database, "SELECT security_id, dates::text FROM reprocessing_triggers ORDER BY 1"
    )
    old = f"[{_DAYS[2]},{_DAYS[3]})"
    assert found == (
        [("A", f"{{{old},[{_DAYS[4]},{_DAYS[5]})}}")]
        if "date" in move
        else [("A", f"{{{old}}}"), ("B", f"{{[{_DAYS[2]},)}}")]
    )
