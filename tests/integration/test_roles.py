"""The database roles.

revalue_reader reads all that the API returns and writes nothing; revalue_writer feeds market and
reference data, and its writes are corrections; revalue_engine runs the whole engine and defines
nothing. Where they cannot be created, a log line says how to create them.
"""

import asyncio
import io
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import asyncpg
import polars as pl
import pytest

from revalue.console.cli.verify import verify_rows
from revalue.engine import logs
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import AccessDeniedError, NotAllInPostgresError, UsageError
from revalue.engine.lake.check import check
from revalue.engine.lake.maintain import maintain
from revalue.engine.lake.ownership import adopt
from revalue.engine.leadership.sessions import require_sessions
from revalue.engine.operate import tokens
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database
from revalue.engine.read.frames import valuations
from tests.conftest import in_memory, named
from tests.support import (
    DAYS,
    SETTINGS,
    dates,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
)
from tests.web.test_api import client, got

pytestmark = pytest.mark.slow

LAST = [date(2024, 1, 29), date(2024, 1, 30), date(2024, 2, 1)]

CLOSED = {
    "revalue_reader": {"api_tokens", "moment_lock", "request_answers"},
    "revalue_engine": {"api_tokens", "moment_lock"},
}
"""Tables that only their owner reads."""


def signed_in(url: str, user: str) -> str:
    return url.replace("//postgres:", f"//{user}:")


@pytest.fixture
async def users(url: str) -> AsyncIterator[dict[str, str]]:
    """Addresses of login users, each a member of one role."""
    connection = await asyncpg.connect(url)
    roles = ("reader", "writer", "engine")
    for role in roles:
        await connection.execute(f"CREATE ROLE test_{role} LOGIN IN ROLE revalue_{role}")
    yield {role: signed_in(url, f"test_{role}") for role in roles}
    await connection.execute("DROP ROLE test_reader, test_writer, test_engine")
    await connection.close()


async def test_the_reader_reads_every_answer_and_writes_nothing(
    url: str, database: Database, users: dict[str, str]
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
        await running.settle()
    _, secret = await tokens.create(database, "analyst", ["read", "operate"])
    async with client(users["reader"], require_token=True) as web:
        web.headers["authorization"] = f"Bearer {secret}"
        known = {"known_at": datetime.now(UTC).isoformat()}
        for more in ({}, known):
            assert (await got(web, "/portfolios/P1/positions", as_of=DAYS[7], **more))["items"]
            assert (await got(web, "/portfolios/P1/valuation", from_=DAYS[0], to=DAYS[-1], **more))[
                "items"
            ]
            assert (await got(web, "/positions/P1/A/history", **more))["items"]
        for path in (
            "/reprocessing",
            "/jobs",
            "/dead-letters",
            "/positions/stuck",
            "/health/ready",
        ):
            await got(web, path)
        assert (await got(web, "/positions/P2/A/explain", date=DAYS[7]))["verdict"] == "AGREES"
        assert len((await got(web, "/positions/P1/A/changes", date=DAYS[7]))["items"]) == 2
        for path, body in (
            ("/jobs/1:retry", None),
            (
                "/corrections:preview",
                {"kind": "price", "security_id": "A", "date": "2024-01-10", "price": "1"},
            ),
        ):
            answer = await web.post(path, json=body)
            assert (answer.status_code, answer.json()["title"]) == (403, "AccessDeniedError"), (
                answer.text
            )
    connection = await asyncpg.connect(users["reader"])
    tables = await connection.fetch(
        """SELECT c.relname,
                  (SELECT attname FROM pg_attribute
                   WHERE attrelid = c.oid AND attnum = 1) AS column
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'public' AND c.relkind = 'r'"""
    )
    assert len(tables) > 15
    for table, column in tables:
        for statement in (
            f"INSERT INTO {table} DEFAULT VALUES",
            f"UPDATE {table} SET {column} = DEFAULT",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    for statement in (
        "SELECT nextval('valuation_job_ids')",
        "CREATE TABLE mine ()",
        "SELECT token_hash FROM api_tokens",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_the_engine_role_runs_the_whole_engine_and_defines_nothing(
    url: str, users: dict[str, str]
) -> None:
    async with await Database.open(users["engine"]) as database:
        await load_small_book(database, portfolios=2)
        async with engine(users["engine"]) as running:
            await running.settle()
            await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
            await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
            await corrections.position(
                database, "P1", "A", DAYS[5], Decimal(0), Decimal(0), Decimal(0)
            )
            await load(database, Kind.POSITIONS, facts("P2", "B", {date(2024, 3, 1): "0"}))
            # Removes the record before.
            await load(database, Kind.POSITIONS, facts("P2", "B", {date(2024, 3, 4): "0"}))
            await open_days(
                database, [date(2024, 1, 29), *(date(2024, 2, day) for day in range(5, 10))]
            )
            await running.settle()  # the last prices become too old, so jobs wait
            async with client(users["engine"]) as web:
                body = {
                    "kind": "price",
                    "security_id": "A",
                    "date": DAYS[9].isoformat(),
                    "price": "31.5",
                }
                previewed = await web.post("/corrections:preview", json=body)
                assert (previewed.status_code, previewed.json()["positions"]) == (200, 1), (
                    previewed.text
                )
                waiting = (await got(web, "/jobs?status=WAITING_FOR_DATA"))["items"]
                assert (await web.post(f"/jobs/{waiting[0]['job_id']}:retry")).status_code == 200
            late = date(2024, 2, 6)
            for security in "AB":
                await load(database, Kind.PRICES, prices(security, {late: "99"}))
            rate = {
                "base_currency": ["EUR"],
                "quote_currency": ["USD"],
                "rate_date": [late],
                "rate": ["1.2"],
            }
            await load(database, Kind.FX_RATES, pl.DataFrame(rate))
            await running.settle()
        async with engine(users["engine"], holder="second") as second:
            await second.settle()
        found = await verify_rows(database, rows=None, seed=0)
        assert (found.rows > 60, found.disagreements) == (True, 0), found.examples
    connection = await asyncpg.connect(users["engine"])
    for statement in (
        "CREATE TABLE mine ()",
        "ALTER TABLE fx_rates ADD COLUMN mine integer",
        "DROP TABLE daily_position_snapshots",
        "TRUNCATE daily_position_snapshots",
        "DELETE FROM daily_position_snapshots",
        "UPDATE daily_position_snapshots SET market_value = 0",
        "INSERT INTO calendar_openings (calendar_id, opened_through) VALUES ('CAL', NULL)",
        "UPDATE calendar_openings SET opened_through = NULL",
        "DELETE FROM calendar_openings",
        "DELETE FROM market_prices",
        "UPDATE valuation_policy SET fx_max_age_sessions = 0",
        "SELECT * FROM api_tokens",
        "INSERT INTO api_tokens (name, token_hash, scopes) VALUES ('x', sha256('x'), '{read}')",
        "SELECT grant_revalue_roles()",
        "CREATE ROLE mine",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_roles_and_the_lake(
    url: str, database: Database, users: dict[str, str], tmp_path: Path
) -> None:
    """The engine makes it and writes to it, the reader reads it, only the owner merges files."""
    await load_small_book(database, portfolios=2)
    settings = SETTINGS.model_copy(
        update={"lake": str(tmp_path / "lake"), "lake_task_rows": 1, "task_rows": 1}
    )
    await open_days(database, LAST)
    async with engine(users["engine"], settings=settings) as running:
        await running.settle()
    async with await Database.open(users["reader"], connections=1) as reader:
        assert len(await valuations(reader)) == 4 * len(DAYS + LAST)
        assert (await check(reader)).is_sound
        with pytest.raises(AccessDeniedError):
            await adopt(reader)
    async with await Database.open(users["engine"], connections=1) as own:
        with pytest.raises(AccessDeniedError, match="for the owner of the tables"):
            await maintain(own)
    assert (await maintain(database)).files_merged > 1
    await execute(database, "GRANT SELECT ON position_valuations TO test_writer")
    async with await Database.open(users["writer"], connections=1) as stranger:
        with pytest.raises(NotAllInPostgresError):
            await execute(stranger, "SELECT FROM position_valuations")
    await execute(database, "REVOKE SELECT ON position_valuations FROM test_writer")


async def test_more_sessions_than_a_user_may_have_are_refused(
    database: Database, users: dict[str, str]
) -> None:
    await execute(database, "ALTER ROLE test_engine CONNECTION LIMIT 22")
    expected = (
        "8 valuation actors and the scheduler need 29 database sessions, and this user may have "
        r"22 in this database: use at most 4 \(--actors, REVALUE_ACTORS\), or raise the limit to 29"
    )
    async with await Database.open(users["engine"]) as limited:
        await require_sessions(limited, 4)
        with pytest.raises(UsageError, match=expected):
            await require_sessions(limited, 8)
    await execute(database, "ALTER ROLE test_engine CONNECTION LIMIT 12")
    async with await Database.open(users["engine"]) as limited:
        with pytest.raises(UsageError, match="may have 12 in this database: raise the limit to 15"):
            await require_sessions(limited, 1)


async def test_the_writer_feeds_data_and_its_corrections_are_recorded(
    url: str, database: Database, users: dict[str, str]
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        async with await Database.open(users["writer"]) as feed:
            instrument = {
                "security_id": ["A", "C"],
                "currency": ["USD", "CHF"],
                "max_price_age_sessions": [4, 4],
            }
            rate = {
                "base_currency": ["EUR"],
                "quote_currency": ["USD"],
                "rate_date": [DAYS[8]],
                "rate": ["1.3"],
            }
            await load(feed, Kind.INSTRUMENTS, pl.DataFrame(instrument))
            await load(feed, Kind.PRICES, prices("A", {DAYS[2]: "77", date(2024, 1, 29): "78"}))
            await load(feed, Kind.PRICES, prices("B", {date(2024, 1, 29): "79"}))
            await load(feed, Kind.FX_RATES, pl.DataFrame(rate))
            await load(feed, Kind.BUSINESS_DATES, dates([date(2024, 1, 13), date(2024, 1, 29)]))
            await load(feed, Kind.BUSINESS_DATES, dates([date(2024, 1, 2)], calendar="NEW"))
            with pytest.raises(AccessDeniedError):
                await load(feed, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "1"}))
        connection = await asyncpg.connect(users["writer"])
        for statement in (
            "DELETE FROM market_prices WHERE security_id = 'B' AND price_date = '2024-01-10'",
            "DELETE FROM fx_rates WHERE rate_date = '2024-01-17'",
            "UPDATE instruments SET max_price_age_sessions = 9 WHERE security_id = 'B'",
            "DELETE FROM business_dates WHERE calendar_id = 'NEW'",
        ):
            assert not (await connection.execute(statement)).endswith(" 0")
        for statement in (
            "UPDATE calendars SET opened_through = '2024-01-29'",
            "INSERT INTO calendars (calendar_id, opened_through) VALUES ('MINE', '2024-01-29')",
            "INSERT INTO calendar_openings (calendar_id, opened_through) VALUES ('CAL', NULL)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await running.settle()
    recorded = """SELECT count(*) FROM reprocessing_triggers
                  WHERE kind <> 'POSITION' AND positions_invalidated > 0"""
    assert (await fetch(database, recorded))[0][0] >= 7
    found = await verify_rows(database, rows=None, seed=0)
    assert (found.rows > 60, found.disagreements) == (True, 0), found.examples
    await connection.close()


WRITES = {
    "market_prices": {"INSERT", "UPDATE", "DELETE"},
    "fx_rates": {"INSERT", "UPDATE", "DELETE"},
    "business_dates": {"INSERT (calendar_id)", "INSERT (business_date)", "DELETE"},
    "calendars": {"INSERT (calendar_id)"},
    "instruments": {
        "INSERT (security_id)",
        "INSERT (currency)",
        "INSERT (contract_multiplier)",
        "INSERT (max_price_age_sessions)",
        "INSERT (move_limit_percent)",
        "UPDATE (currency)",
        "UPDATE (contract_multiplier)",
        "UPDATE (max_price_age_sessions)",
        "UPDATE (move_limit_percent)",
    },
    "record_load": {"EXECUTE"},
}
"""All that revalue_writer may do besides reading tables; columns where not all may be given."""


async def test_the_writer_may_write_nothing_else(database: Database) -> None:
    granted = await fetch(
        database,
        """SELECT c.relname, a.privilege_type
           FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
           WHERE a.grantee = 'revalue_writer'::regrole AND a.privilege_type <> 'SELECT'
           UNION ALL
           SELECT c.relname, format('%s (%s)', a.privilege_type, t.attname)
           FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid
           CROSS JOIN LATERAL aclexplode(t.attacl) a
           WHERE a.grantee = 'revalue_writer'::regrole
           UNION ALL
           SELECT p.proname, a.privilege_type
           FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
           WHERE a.grantee = 'revalue_writer'::regrole""",
    )
    expected = {(table, what) for table, all_of in WRITES.items() for what in all_of}
    assert set(granted) == expected
    assert await fetch(
        database,
        "SELECT count(*) FROM pg_auth_members WHERE member = 'revalue_writer'::regrole",
    ) == [(0,)]


async def test_every_table_is_open_to_both_roles_or_closed_on_purpose(database: Database) -> None:
    """Default privileges give nothing: a migration that creates a table says who may read it."""
    async with database.connection() as connection:
        for role in ("revalue_reader", "revalue_engine"):
            closed = await connection.fetch(
                """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v')
                     AND NOT has_table_privilege($1, c.oid, 'SELECT')""",
                role,
            )
            assert {row["relname"] for row in closed} == CLOSED[role]
        if connection.get_server_version().major >= 17:
            for table in (
                "business_dates",
                "portfolios",
                "instruments",
                "fx_rates",
                "position_state",
            ):
                assert await connection.fetchval(
                    "SELECT has_table_privilege('revalue_engine', $1, 'MAINTAIN')", table
                )


@pytest.fixture(scope="module")
def other_server() -> Iterator[str]:
    """A separate server, which has no roles yet."""
    folder = Path(tempfile.mkdtemp(prefix="revalue-", dir=in_memory()))
    yield embedded.start(folder)
    embedded.stop(folder)
    shutil.rmtree(folder, ignore_errors=True)


async def roles(connection: asyncpg.Connection) -> set[str]:
    return {
        row["rolname"]
        for row in await connection.fetch(
            "SELECT rolname FROM pg_roles WHERE rolname ~ '^revalue_'"
        )
    }


async def test_roles_are_created_once_per_server_and_dropped_with_the_last_database(
    other_server: str,
) -> None:
    admin = await asyncpg.connect(other_server)
    every = {"revalue_reader", "revalue_writer", "revalue_engine"}
    await admin.execute("CREATE ROLE plain LOGIN")
    for name in ("unprivileged", "one", "two"):
        await admin.execute(f"CREATE DATABASE {name} OWNER plain")
    told = io.StringIO()
    logs.configure("WARNING", stream=told)
    plain = signed_in(named(other_server, "unprivileged"), "plain")
    # It continues without the roles and logs what to do.
    assert await schema.migrate(plain) == schema.head()
    logs.configure("WARNING")
    assert "SELECT grant_revalue_roles()" in told.getvalue()
    assert await roles(admin) == set()
    one, two = (named(other_server, name) for name in ("one", "two"))
    # Two processes at the same time: Alembic's state is global to a process.
    call = (sys.executable, "-m", "revalue", "--database-url")
    migrating = [
        await asyncio.create_subprocess_exec(*call, address, "migrate") for address in (one, two)
    ]
    assert [await process.wait() for process in migrating] == [0, 0]
    assert await roles(admin) == every
    owner = await asyncpg.connect(plain)
    assert not await owner.fetchval(
        "SELECT has_table_privilege('revalue_reader', 'position_state', 'SELECT')"
    )
    await owner.execute("SELECT grant_revalue_roles()")
    assert await owner.fetchval(
        "SELECT has_table_privilege('revalue_reader', 'position_state', 'SELECT')"
    )
    await owner.close()
    await schema.migrate(plain, "base")  # plain may not drop roles
    await schema.migrate(one, "base")
    assert await roles(admin) == every
    await admin.execute("CREATE ROLE person LOGIN IN ROLE revalue_reader")
    await schema.migrate(two, "base")
    assert await roles(admin) == {"revalue_reader"}  # someone is a member of it
    await admin.close()
