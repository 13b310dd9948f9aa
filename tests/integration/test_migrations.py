"""The schema goes up from nothing, down to nothing, and up from the head before."""

import asyncio

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from revalue.engine.errors import SchemaVersionError
from revalue.engine.postgres import schema
from tests.conftest import drop_database, fresh_database

OBJECTS = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relname NOT LIKE 'alembic%'
"""
LEFT_OVER = """
    SELECT (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public')
         + (SELECT count(*) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
            WHERE n.nspname = 'public' AND t.typtype = 'e')
"""


@pytest.fixture
async def empty_url(server_url: str):  # type: ignore[no-untyped-def]
    url = await fresh_database(server_url, None)
    yield url
    await drop_database(server_url, url)


def revisions() -> list[str]:
    script = ScriptDirectory.from_config(schema.alembic_config())
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


async def test_every_revision_goes_up_and_down_and_leaves_nothing(empty_url: str) -> None:
    for revision in revisions():
        assert await schema.migrate(empty_url, revision) == revision
    connection = await asyncpg.connect(empty_url)
    full = await connection.fetchval(OBJECTS)
    assert full > 20
    assert schema.head() == revisions()[-1]
    for revision in [*reversed(revisions()[:-1]), "base"]:
        assert await schema.migrate(empty_url, revision) == revision
    assert await connection.fetchval(OBJECTS) == 0
    assert await connection.fetchval(LEFT_OVER) == 0
    assert await schema.migrate(empty_url) == schema.head()
    assert await connection.fetchval(OBJECTS) == full
    await connection.close()


async def test_the_previous_head_is_upgraded_with_its_data(empty_url: str) -> None:
    await schema.migrate(empty_url, revisions()[-2])
    connection = await asyncpg.connect(empty_url)
    for statement in (
        "INSERT INTO calendars (calendar_id) VALUES ('OTHER'), ('KEPT')",
        "INSERT INTO portfolios (portfolio_id, base_currency, calendar_id) VALUES ('P', 'CHF', 'KEPT')",
        "INSERT INTO instruments (security_id, currency, max_price_age_sessions) VALUES ('A', 'USD', 1)",
        "INSERT INTO position_state (portfolio_id, security_id) VALUES ('P', 'A')",
    ):
        await connection.execute(statement)
    await schema.migrate(empty_url)
    row = await connection.fetchrow(
        """SELECT p.portfolio_id, c.calendar_id, b.currency FROM position_state p
           JOIN calendars c USING (calendar_no) JOIN currencies b ON b.currency_no = p.base_currency_no"""
    )
    assert row is not None
    assert tuple(row) == ("P", "KEPT", "CHF")
    await connection.close()


async def test_a_position_has_the_numbers_of_its_portfolio_and_keeps_them(empty_url: str) -> None:
    await schema.migrate(empty_url)
    connection, other = await asyncpg.connect(empty_url), await asyncpg.connect(empty_url)
    for statement in (
        "INSERT INTO calendars (calendar_id) VALUES ('OTHER'), ('CAL')",
        "INSERT INTO portfolios (portfolio_id, base_currency, calendar_id) VALUES ('P', 'CHF', 'CAL'), ('Q', 'CHF', 'CAL')",
        "INSERT INTO instruments (security_id, currency, max_price_age_sessions) VALUES ('A', 'USD', 1)",
    ):
        await connection.execute(statement)
    insert = """INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no)
                SELECT '{}', 'A', calendar_no, currency_no FROM calendars, currencies
                WHERE calendar_id = '{}' AND currency = '{}'"""
    for calendar, currency in (("OTHER", "CHF"), ("CAL", "EUR")):
        with pytest.raises(
            asyncpg.RestrictViolationError, match="P / A has not the numbers of its portfolio"
        ):
            await connection.execute(insert.format("P", calendar, currency))
    await connection.execute(insert.format("P", "CAL", "CHF"))
    for column in ("portfolio_id = 'Q'", "base_currency_no = 1", "calendar_no = 1"):
        with pytest.raises(asyncpg.RestrictViolationError, match="keeps its portfolio"):
            await connection.execute(f"UPDATE position_state SET {column}")
    # Who changes a portfolio while its first position is being written waits for that, and is refused.
    writing = connection.transaction()
    await writing.start()
    await connection.execute(insert.format("Q", "CAL", "CHF"))
    changing = asyncio.create_task(
        other.execute("UPDATE portfolios SET base_currency = 'EUR' WHERE portfolio_id = 'Q'")
    )
    third = await asyncpg.connect(empty_url)
    while not await third.fetchval(
        "SELECT cardinality(pg_blocking_pids($1)) > 0", other.get_server_pid()
    ):
        assert not changing.done()
    await writing.commit()
    with pytest.raises(
        asyncpg.RestrictViolationError,
        match="base currency and calendar of portfolio Q cannot change",
    ):
        await changing
    for each in (connection, other, third):
        await each.close()


async def test_another_schema_is_refused_with_what_to_do(empty_url: str) -> None:
    with pytest.raises(SchemaVersionError, match="revalue migrate"):
        await schema.require_head(empty_url)
    await schema.migrate(empty_url, "0001")
    with pytest.raises(SchemaVersionError, match="0001"):
        await schema.require_head(empty_url)
