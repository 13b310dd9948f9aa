"""Errors of the database's setup stop the engine with one error, and no job is blamed for them.

PostgreSQL's errors are of three kinds, the same for both drivers: transient ones are waited out,
those of the data isolate a job, and all others stop the scheduler.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from revalue.engine import errors
from revalue.engine.core.lifecycle import Lane
from revalue.engine.operate.status import read_status
from revalue.engine.postgres import statement
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.asyncpg_errors import translated_errors
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement
from tests.conftest import named
from tests.faults.checks import assert_all_correct
from tests.support import (
    DAYS,
    Engine,
    engine,
    execute,
    fetch,
    load_small_book,
    until,
    until_current,
)

CORRECTION = "UPDATE market_prices SET price = price + 1"

KINDS = {
    errors.DatabaseUnavailableError: "08000 08006 08P01 25006 25P03 53100 53300 57P01 57P03",
    errors.WriteConflictError: "40001 40P01 40003 55P03",
    errors.StatementCancelledError: "57014",
    errors.DataFaultError: "22003 22P02 23502 23505 23514 54000 XX000 XX001",
    errors.CorrectionRefusedError: "23001",
    errors.AccessDeniedError: "28000 28P01 3D000 42501",
    errors.DatabaseSetupError: "0A000 21000 25P02 26000 2F003 3F000 42P01 42703 42883 42P05 42P07 "
    "55000 55006 55P02 58030 58P01 P0001 72000",
}


@pytest.fixture(scope="module")
async def raising_url(server_url: str) -> AsyncIterator[str]:
    """A database with a function that raises any SQLSTATE."""
    admin = await asyncpg.connect(server_url)
    await admin.execute("CREATE DATABASE raising")
    async with await Database.open(named(server_url, "raising")) as database:
        await execute(
            database,
            """CREATE FUNCTION raising(code text) RETURNS integer LANGUAGE plpgsql AS $$
               BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = code; END $$""",
        )
    yield named(server_url, "raising")
    await admin.execute("DROP DATABASE raising WITH (FORCE)")
    await admin.close()


@pytest.mark.parametrize(
    ("code", "kind"), [(code, kind) for kind, codes in KINDS.items() for code in codes.split()]
)
async def test_both_drivers_give_an_error_of_postgresql_the_same_meaning(
    raising_url: str, code: str, kind: type[errors.RevalueError]
) -> None:
    query = Statement.parse(f"SELECT raising('{code}')", "the question")
    reader = ArrowReader(raising_url)
    with pytest.raises(errors.RevalueError, match="as asked") as read, reader.snapshot() as inside:
        inside.read(query)
    async with await Database.open(raising_url) as database:
        with pytest.raises(errors.RevalueError, match="as asked") as asked:
            await fetch(database, query.text)
    assert (read.type, asked.type) == (kind, kind)
    is_transient = issubclass(kind, errors.TransientError)
    assert is_transient != issubclass(kind, errors.PermanentError)
    if isinstance(read.value, errors.WriteConflictError):
        assert read.value.is_lock_timeout == (code == "55P03")
    if kind in (errors.DatabaseSetupError, errors.DataFaultError):
        assert "the question" in str(read.value)
        assert query.text in str(asked.value)


async def test_a_refused_connection_is_told_alike_by_both_drivers(
    url: str, server_url: str
) -> None:
    for address in (
        url.replace("//postgres:", "//nobody:"),
        named(server_url, "missing"),
    ):
        reader = ArrowReader(address)
        with pytest.raises(errors.AccessDeniedError) as read, reader.snapshot():
            pass
        with pytest.raises(errors.AccessDeniedError) as opened:
            await Database.open(address)
        assert str(read.value) == str(opened.value)
        assert read.value.exit_code == 77


async def test_an_address_that_libpq_cannot_use_is_not_tried_again_and_again(url: str) -> None:
    for parameter in ("connect_timeout=soon", "max_protocol_version=ten", "service=nowhere"):
        with (
            pytest.raises(errors.UsageError) as refused,
            ArrowReader(f"{url}&{parameter}").snapshot(),
        ):
            pass
        assert parameter.split("=")[1] in str(refused.value)


async def stopped_by(running: Engine, kind: type[errors.PermanentError]) -> errors.PermanentError:
    """Run the loop, as in service, until it ends by itself; return what ended it."""
    with pytest.raises(errors.RevalueError) as ended:
        await asyncio.wait_for(running.loop.run(), 30)
    assert ended.type is kind, ended.value
    return ended.value  # type: ignore[return-value]


async def assert_nothing_is_blamed_and_all_recovers(url: str, database: Database) -> None:
    assert await fetch(database, "SELECT FROM dead_letters") == []
    assert "FAILED" not in (await read_status(database)).positions
    async with engine(url, holder="next") as running:
        await running.settle()
    assert (await read_status(database)).is_current
    await assert_all_correct(database)
    assert await fetch(database, "SELECT max(attempt_count) FROM portfolio_valuation_jobs") == [
        (1,)
    ], "an attempt was counted"


@pytest.mark.parametrize(
    ("table", "column", "where"),
    [
        ("daily_position_snapshots", "fx_path", "daily_position_snapshots"),
        ("portfolio_valuation_jobs", "rows_written", "value/complete_jobs.sql"),
        ("market_prices", "quote_basis", "value/prices.sql"),
        ("position_history", "cost_basis", "value/history.sql"),
        ("calendars", "revision", "stage/outlook.sql"),
        ("deferred_jobs", "not_before", "engine.apply/"),
    ],
)
async def test_a_column_that_is_renamed_under_the_engine_stops_it(
    url: str, database: Database, table: str, column: str, where: str
) -> None:
    """Read by either driver or written, by the scheduler or by a valuer."""
    await load_small_book(database, portfolios=4)
    async with engine(url) as running:
        await running.settle()
        await execute(database, CORRECTION)
        await execute(database, f"ALTER TABLE {table} RENAME COLUMN {column} TO other")
        error = await stopped_by(running, errors.DatabaseSetupError)
    await execute(database, f"ALTER TABLE {table} RENAME COLUMN other TO {column}")
    assert error.exit_code == 78
    for part in (column, where, "revalue migrate"):
        assert part in str(error)
    await assert_nothing_is_blamed_and_all_recovers(url, database)


@pytest.fixture
async def user(server_url: str) -> AsyncIterator[str]:
    """A login user of the role revalue_engine. Name it before `url`: its tables go first."""
    async with await Database.open(server_url) as server:
        await execute(server, "CREATE ROLE test_denied LOGIN IN ROLE revalue_engine")
        yield "test_denied"
        await execute(server, "DROP ROLE test_denied")


@pytest.mark.parametrize(
    ("right", "table"),
    [
        ("INSERT", "daily_position_snapshots"),
        ("SELECT", "market_prices"),
        ("UPDATE", "position_state"),
        ("UPDATE", "scheduler_term"),
    ],
)
async def test_a_right_that_is_taken_away_stops_the_engine(
    user: str, url: str, database: Database, right: str, table: str
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url.replace("//postgres:", f"//{user}:")) as running:
        await running.settle()
        await execute(database, CORRECTION)
        await execute(database, f"REVOKE {right} ON {table} FROM revalue_engine")
        error = await stopped_by(running, errors.AccessDeniedError)
    assert error.exit_code == 77
    for part in (f"permission denied for table {table}", "grant_revalue_roles()"):
        assert part in str(error)
    await execute(database, "SELECT grant_revalue_roles()")
    await assert_nothing_is_blamed_and_all_recovers(url, database)


async def test_a_migration_under_the_engine_stops_it(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        (revision,) = (await fetch(database, "SELECT version_num FROM alembic_version"))[0]
        await execute(database, "UPDATE alembic_version SET version_num = '0001'")
        error = await stopped_by(running, errors.SchemaVersionError)
    assert "revision 0001" in str(error)
    await execute(database, "UPDATE alembic_version SET version_num = $1", revision)
    await execute(database, CORRECTION)
    await assert_nothing_is_blamed_and_all_recovers(url, database)


async def test_a_missing_policy_stops_the_engine(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=2)
    await execute(database, "CREATE TABLE kept AS SELECT * FROM valuation_policy")
    disabled = "ALTER TABLE valuation_policy DISABLE TRIGGER USER;"
    await execute(database, f"{disabled} DELETE FROM valuation_policy")
    async with engine(url) as running:
        error = await stopped_by(running, errors.DatabaseSetupError)
    assert "valuation_policy" in str(error)
    await execute(
        database,
        """INSERT INTO valuation_policy SELECT * FROM kept; DROP TABLE kept;
           ALTER TABLE valuation_policy ENABLE TRIGGER USER""",
    )
    await assert_nothing_is_blamed_and_all_recovers(url, database)


async def test_a_read_only_server_is_waited_for(
    url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover to a standby, or when a provider protects a full disk."""
    await load_small_book(database, portfolios=2)
    name = url.partition("@/")[2].partition("?")[0]

    async def read_only(state: str) -> None:
        await execute(
            database, f"ALTER DATABASE {name} SET default_transaction_read_only = {state}"
        )
        await execute(
            database,
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()""",
        )

    async with engine(url) as running:
        await running.settle()
        await execute(database, CORRECTION)
        with caplog.at_level("WARNING", logger="revalue"):
            await read_only("on")
            work = asyncio.create_task(running.loop.run())
            await until(lambda: "read-only" in (running.loop.progress.trouble or ""))
            await execute(
                database,
                f"""SET default_transaction_read_only = off;
                    ALTER DATABASE {name} RESET default_transaction_read_only""",
            )
            # The sessions of the time in between are read-only still: they have to be opened anew.
            await until_current(running, database, work)
        running.loop.stop()
        await asyncio.wait_for(work, 30)
    assert len([r for r in caplog.records if "read-only" in str(r.msg)]) <= 1
    await assert_all_correct(database)


async def test_a_missing_file_of_the_package_is_not_told_as_an_unreachable_database(
    database: Database,
) -> None:
    missing = statement.statements("revalue.engine.value")
    with pytest.raises(errors.IncompleteInstallationError, match="no_such_file") as told:
        async with database.connection() as connection:
            await missing("no_such_file").execute(connection)
    assert "Install the package again" in str(told.value)
    with pytest.raises(FileNotFoundError), translated_errors():  # of a file, not of a socket
        Path("/no/such/file").read_text()  # noqa: ASYNC240


async def test_a_misused_connection_is_not_told_as_an_unreachable_database(
    database: Database,
) -> None:
    with pytest.raises(RuntimeError, match="the server expects 1 argument"):
        await fetch(database, "SELECT $1::integer")
    assert await fetch(database, "SELECT 1") == [(1,)]


async def test_identifiers_that_the_server_quotes_do_not_matter(
    url: str, database: Database
) -> None:
    """The driver for reading finds its types by their unquoted names."""
    await load_small_book(database, portfolios=1)
    name = url.partition("@/")[2].partition("?")[0]
    await execute(database, f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    async with engine(url) as running:
        await running.settle()
    assert await assert_all_correct(database) == 2 * len(DAYS)
    assert Lane.LIVE in running.loop._lanes
