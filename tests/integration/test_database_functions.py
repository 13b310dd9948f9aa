"""The database's functions: whose tables they read, whose rights they have, which locks they take.

A writer or a reader of the database may have any search_path and any temporary tables.
"""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from revalue.engine.errors import DatabaseSetupError, UsageError
from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from tests.conftest import drop_database, fresh_database, small_book
from tests.support import execute, fetch


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    """A database with the small book, not valued."""
    async with small_book(server_url, template, 1, valued=False) as address:
        yield address


@pytest.fixture
async def writer(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, server_settings={"lock_timeout": "5s"})
    yield connection
    await connection.close()


@pytest.fixture
async def reader(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of a login user who is a member of revalue_reader and of nothing else."""
    owner = await asyncpg.connect(url)
    await owner.execute("CREATE ROLE mallory LOGIN IN ROLE revalue_reader")
    connection = await asyncpg.connect(url.replace("//postgres:", "//mallory:"))
    yield connection
    await connection.close()
    await owner.execute("DROP OWNED BY mallory; DROP ROLE mallory")
    await owner.close()


async def test_every_function_finds_its_tables_whoever_calls_it(database: Database) -> None:
    functions = await fetch(
        database,
        """SELECT proname, proconfig, prosqlbody IS NOT NULL, prosecdef,
                  has_function_privilege('public', oid, 'EXECUTE')
           FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
    )
    assert len(functions) > 25
    for name, settings, is_bound, runs_as_owner, is_public in functions:
        paths = [each for each in settings or () if each.startswith("search_path=")]
        assert is_bound or paths == ["search_path=public, pg_temp"], name
        assert not (runs_as_owner and is_public), name


async def test_in_a_schema_with_capitals_functions_find_their_tables_too(server_url: str) -> None:
    url = await fresh_database(server_url, None)
    owner = await asyncpg.connect(url)
    await owner.execute('CREATE SCHEMA "My Book"')
    name = url.partition("@/")[2].partition("?")[0]
    await owner.execute(f'ALTER DATABASE {name} SET search_path = "My Book", public')
    await owner.close()
    await schema.migrate(url)
    writing = await asyncpg.connect(url, server_settings={"search_path": ""})
    await writing.execute(
        """INSERT INTO "My Book".instruments (security_id, currency, max_price_age_sessions)
           VALUES ('A', 'USD', 1);
           INSERT INTO "My Book".market_prices VALUES ('A', '2024-01-02', 1, 'USD', 'PER_UNIT')"""
    )
    assert await writing.fetchval('SELECT count(*) FROM "My Book".reprocessing_triggers') == 1
    await writing.close()
    await drop_database(server_url, url)


@pytest.mark.parametrize(
    "call",
    [
        "publications_at({})",
        "positions_at({})",
        "snapshots_at({})",
        "business_dates_at({})",
        "merged_reach('{{1}}', '{{1}}')",
    ],
)
async def test_the_planner_inlines_what_readers_call(database: Database, call: str) -> None:
    """As a part of the query it is planned with its conditions, and half of it is left out.

    The function scans named u are those of the arrays of jobs.
    """
    for known_at in ("NULL", "now()"):
        plan = await fetch(database, f"EXPLAIN SELECT * FROM {call.format(known_at)}")
        assert not [
            line for (line,) in plan if re.search(r"Function Scan on (?!u\b|u_\d)", line)
        ], plan
    if "{}" in call:
        now = await fetch(database, f"EXPLAIN SELECT * FROM {call.format('NULL')}")
        assert not [line for (line,) in now if "moments" in line and "business" not in call], now


EVERY_TABLE_IS_STAGED = """
    DO $$
    DECLARE
        name text;
    BEGIN
        FOR name IN SELECT relname FROM pg_class
                    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        LOOP
            EXECUTE format('CREATE %s TABLE %s (LIKE public.%I)', {kind}, {place}, name);
        END LOOP;
    END $$
"""
SESSIONS = {
    "plain": "RESET ALL",
    "temporary tables of the same names": EVERY_TABLE_IS_STAGED.format(
        kind="'TEMP'", place="quote_ident(name)"
    ),
    "a schema of its own first": "CREATE SCHEMA staging;"
    + EVERY_TABLE_IS_STAGED.format(kind="''", place="'staging.' || quote_ident(name)")
    + "; SET search_path = staging, public",
    "no path": "SET search_path = ''",
}
"""What a writer's database session has done before it writes."""

CORRECTIONS = (
    (
        "INSERT INTO public.market_prices VALUES ('A', '2024-01-27', 9, 'USD', 'PER_UNIT')",
        ("PRICE", "{[2024-01-27,)}"),
    ),
    (
        """INSERT INTO public.market_prices VALUES ('A', '2024-01-13', 9, 'USD', 'PER_UNIT')
           ON CONFLICT (security_id, price_date) DO UPDATE SET price = excluded.price""",
        ("PRICE", "{[2024-01-13,2024-01-15)}"),
    ),
    (
        """UPDATE public.market_prices SET price = price + 1
           WHERE security_id = 'A' AND price_date = '2024-01-10'""",
        ("PRICE", "{[2024-01-10,2024-01-11)}"),
    ),
    (
        """DELETE FROM public.market_prices
           WHERE security_id = 'B' AND price_date = '2024-01-12'""",
        ("PRICE", "{[2024-01-12,2024-01-15)}"),
    ),
    (
        "INSERT INTO public.fx_rates VALUES ('EUR', 'USD', '2024-01-06', 2)",
        ("FX", "{[2024-01-06,2024-01-08)}"),
    ),
    (
        "UPDATE public.fx_rates SET rate = rate * 2 WHERE rate_date = '2024-01-10'",
        ("FX", "{[2024-01-10,2024-01-11)}"),
    ),
    (
        """INSERT INTO public.business_dates (calendar_id, business_date)
           VALUES ('CAL', '2024-01-06')""",
        ("CALENDAR", "{[2024-01-06,2024-01-07)}"),
    ),
    (
        "UPDATE public.instruments SET max_price_age_sessions = 9 WHERE security_id = 'A'",
        ("INSTRUMENT", "{(,)}"),
    ),
    ("UPDATE public.valuation_policy SET fx_max_age_sessions = 9", ("POLICY", "{(,)}")),
)


@pytest.mark.parametrize("before", SESSIONS.values(), ids=SESSIONS)
async def test_a_correction_is_recorded_right_whatever_the_writer_has_staged(
    writer: asyncpg.Connection, url: str, before: str
) -> None:
    looking = await asyncpg.connect(url)
    last = await looking.fetchval("SELECT max(trigger_id) FROM reprocessing_triggers")
    await writer.execute(before)
    for statement, expected in CORRECTIONS:
        await writer.execute(statement)
        found = await looking.fetch(
            """SELECT t.trigger_id, t.kind, t.dates::text, m.at IS NOT NULL
               FROM reprocessing_triggers t LEFT JOIN moments m USING (moment_id)
               WHERE t.trigger_id > $1""",
            last,
        )
        assert [tuple(row)[1:] for row in found] == [(*expected, True)], statement
        last = found[0]["trigger_id"]
    with pytest.raises(asyncpg.RestrictViolationError, match="currency of security A"):
        await writer.execute(
            "UPDATE public.instruments SET currency = 'EUR' WHERE security_id = 'A'"
        )
    await looking.close()


async def test_a_reader_gets_no_rights_of_the_owner(url: str, reader: asyncpg.Connection) -> None:
    await reader.execute(
        """CREATE FUNCTION pg_temp.evil() RETURNS bigint LANGUAGE plpgsql AS
               'BEGIN EXECUTE ''ALTER ROLE mallory SUPERUSER''; RETURN 1; END';
           CREATE TEMP VIEW api_tokens AS
           SELECT pg_temp.evil() AS token_id, 'x'::text AS name, '\\x00'::bytea AS token_hash,
                  ARRAY['read'] AS scopes, NULL::text[] AS portfolios, now() AS created_at,
                  NULL::timestamptz AS expires_at, NULL::timestamptz AS revoked_at;
           SET search_path = pg_temp, public"""
    )
    assert await reader.fetch("SELECT * FROM public.valid_api_token('\\x00')") == []
    # Nor by a table of its own, whose columns have types of its own.
    await reader.execute("CREATE TEMP TABLE mine (security_id text, price_date date)")
    owners = await reader.fetch(
        "SELECT proname FROM pg_proc WHERE prosecdef AND prorettype = 'trigger'::regtype"
    )
    assert len(owners) > 8
    for (name,) in owners:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(
                f"""CREATE TRIGGER mine AFTER INSERT ON mine
                    REFERENCING NEW TABLE AS changed
                    FOR EACH STATEMENT EXECUTE FUNCTION public.{name}()"""
            )
    assert not await reader.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'")


async def test_a_schema_in_which_everybody_may_create_functions_is_refused(
    server_url: str,
) -> None:
    """As `public` is in a database that was made by PostgreSQL 14 or older."""
    url = await fresh_database(server_url, None)
    owner = await asyncpg.connect(url)
    await owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(UsageError, match='REVOKE CREATE ON SCHEMA "public" FROM PUBLIC'):
        await schema.migrate(url)
    assert await schema.current_revision(url) is None
    await owner.execute('REVOKE CREATE ON SCHEMA "public" FROM PUBLIC')
    await owner.close()
    assert await schema.migrate(url) == schema.head()
    await drop_database(server_url, url)


async def test_a_server_that_is_too_old_is_refused_and_can_be_left(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server of the tests is new, so what is too old is moved."""
    url = await fresh_database(server_url, None)
    await schema.migrate(url, "0001")
    monkeypatch.setattr(schema, "OLDEST_SERVER", 99)
    with pytest.raises(
        DatabaseSetupError, match=r"the server is PostgreSQL \d+\.\d+.* 99 or newer"
    ):
        await schema.migrate(url)
    assert await schema.current_revision(url) == "0001"
    assert await schema.migrate(url, "base") == "base"
    await drop_database(server_url, url)


async def test_a_reader_holds_up_no_writer(
    reader: asyncpg.Connection, writer: asyncpg.Connection
) -> None:
    """7263548203 and the pairs' hashes were the advisory locks of writers until 0008."""
    await reader.execute(
        """SELECT pg_advisory_lock(7263548203);
           SELECT pg_advisory_lock(hashtextextended('revalue.fx:EUR/USD', 0))"""
    )
    locks = (
        "SELECT FROM moment_lock FOR KEY SHARE",
        "LOCK TABLE moment_lock IN ACCESS SHARE MODE",
        "SELECT FROM currency_pairs FOR KEY SHARE",
        "SELECT FROM instruments FOR KEY SHARE",
        "LOCK TABLE currency_pairs IN ROW SHARE MODE",
        "SELECT current_moment()",
    )
    for lock in locks:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(f"BEGIN; {lock}")
        await reader.execute("ROLLBACK")
    await writer.execute("UPDATE market_prices SET price = price + 1")
    await writer.execute("UPDATE fx_rates SET rate = rate * 2")


OWN_MOMENT = """
    SELECT array_agg(DISTINCT t.moment_id), count(DISTINCT m.moment_id), count(m.at)
    FROM reprocessing_triggers t LEFT JOIN moments m USING (moment_id)
    WHERE t.trigger_id > $1
"""


async def test_the_time_of_a_correction_is_that_of_its_commit(
    database: Database, writer: asyncpg.Connection
) -> None:
    """Whatever is set, and with savepoints."""
    for before in (
        "SELECT 1",
        "SET revalue.moment = '1'",
        "SET LOCAL revalue.moment = 'nonsense'",
        "SAVEPOINT a; UPDATE market_prices SET price = price + 1; ROLLBACK TO a",
        "SAVEPOINT a; UPDATE fx_rates SET rate = rate * 2; RELEASE a",
    ):
        last, now = await writer.fetchrow(
            """SELECT (SELECT max(trigger_id) FROM reprocessing_triggers),
                      (SELECT max(moment_id) FROM moments)"""
        )
        async with writer.transaction():
            await writer.execute(before)
            await writer.execute("UPDATE market_prices SET price = price + 1")
            await writer.execute(
                """INSERT INTO business_dates (calendar_id, business_date, moment_id)
                   SELECT calendar_id, max(business_date) + 1, 1 FROM business_dates GROUP BY 1"""
            )
        moments, rows, stamped = await writer.fetchrow(OWN_MOMENT, last)
        assert (len(moments), rows, stamped > 1) == (1, 1, True), before
        assert moments[0] > now
        assert await fetch(
            database,
            """SELECT moment_id FROM business_dates ORDER BY business_date DESC LIMIT 1""",
        ) == [(moments[0],)]
    assert await fetch(
        database, "SELECT count(*) FROM moments WHERE at IS NULL OR xid IS NOT NULL"
    ) == [(0,)]


@pytest.mark.parametrize("name", ["ALL", "moment_stamped", "public.moment_stamped"])
async def test_an_open_transaction_does_not_hold_the_stamp_of_commits(
    database: Database, writer: asyncpg.Connection, name: str
) -> None:
    immediate = f"SET CONSTRAINTS {name} IMMEDIATE"
    async with writer.transaction():
        await writer.execute(immediate)
        await writer.execute("UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'")
        await asyncio.wait_for(
            execute(database, "UPDATE market_prices SET price = 7 WHERE security_id = 'B'"), 10
        )
    for again in (
        immediate,
        immediate.replace(" CONSTRAINTS", "/* */\n -- x\n constraints"),
        f"DO $$ BEGIN {immediate}; END $$",
    ):
        await writer.execute("BEGIN; UPDATE fx_rates SET rate = rate * 2")
        with pytest.raises(asyncpg.RestrictViolationError, match="after a write"):
            await writer.execute(again)
        await writer.execute("ROLLBACK")
    assert await fetch(database, "SELECT count(*) FROM moments WHERE at IS NULL") == [(0,)]


async def test_dates_and_multipliers_of_inputs_have_bounds(writer: asyncpg.Connection) -> None:
    await writer.execute("SET revalue.loading_positions = on")
    for insert in (
        "INSERT INTO business_dates (calendar_id, business_date) VALUES ('CAL', '{}')",
        "INSERT INTO market_prices VALUES ('A', '{}', 1, 'USD', 'PER_UNIT')",
        "INSERT INTO fx_rates VALUES ('EUR', 'CHF', '{}', 1)",
        """INSERT INTO position_history
               (position_id, valid_from_epoch, position_date, quantity, cost_basis_local,
                cost_basis)
           SELECT min(position_id), 1, '{}', 1, 1, 1 FROM position_state""",
    ):
        for day in ("1900-01-01", "2200-12-31"):
            await writer.execute(insert.format(day))
        for day in ("1899-12-31", "2201-01-01", "20240-03-01", "infinity", "-infinity"):
            with pytest.raises(asyncpg.CheckViolationError, match="between_1900_and_2200"):
                await writer.execute(insert.format(day))
    for multiplier in ("'NaN'", "0", "-1"):
        with pytest.raises(asyncpg.CheckViolationError):
            await writer.execute(f"UPDATE instruments SET contract_multiplier = {multiplier}")


async def test_functions_that_are_called_for_many_rows_keep_their_plans(database: Database) -> None:
    """The sessions of the engine plan each statement anew, which takes longer than these calls."""
    async with database.connection() as connection:
        assert await connection.fetchval("SHOW plan_cache_mode") == "force_custom_plan"
    kept = await fetch(
        database,
        "SELECT proname::text FROM pg_proc "
        "WHERE proconfig @> '{plan_cache_mode=force_generic_plan}' ORDER BY 1",
    )
    assert kept == [("hole_reason",), ("queued_since",), ("reprocessing_since",)]
