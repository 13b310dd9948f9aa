"""What once changed the inputs of valuations without a correction is one now, or is refused."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import asyncpg
import polars as pl
import pytest

from revalue.console.reference.reference import compare, read_book
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import CorrectionRefusedError, DataFaultError
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database
from tests.conftest import named, small_book
from tests.support import engine, execute, facts, fetch, open_days, prices, until


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    """A database with the small book, not valued."""
    async with small_book(server_url, template, 1, valued=False) as address:
        yield address


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(url)
    yield opened
    await opened.close()


UNIT = """INSERT INTO currencies (currency, major_currency, units_per_major)
          VALUES ('KWf', 'KWD', $1)"""

REFUSED = {
    "DELETE FROM valuation_policy": "cannot be deleted.* Use UPDATE",
    "TRUNCATE valuation_policy": "without a correction.* Use UPDATE",
    "TRUNCATE position_history": "without a correction.* Use revalue load positions",
    "TRUNCATE security_quote_currencies": "without a correction.* Write to market_prices",
    "DELETE FROM position_history": "by hand.* Use revalue load positions",
    "UPDATE position_history SET quantity = 2": "by hand",
    """INSERT INTO position_history (position_id, valid_from_epoch, position_date, quantity,
                                     cost_basis_local, cost_basis)
       VALUES (1, 0, '2024-01-20', 1, 1, 1)""": "by hand",
    "DELETE FROM security_quote_currencies": "database triggers of market_prices only",
    "UPDATE currencies SET currency_no = DEFAULT WHERE currency = 'USD'": "number of currency USD",
    """UPDATE currencies SET currency = 'XXX', major_currency = 'XXX'
       WHERE currency = 'AED'""": "code and number",
    """UPDATE currencies SET units_per_major = 10, major_currency = 'USD'
       WHERE currency = 'CHF'""": "nor whether it is a quotation unit",
    """UPDATE currencies SET units_per_major = 1, major_currency = 'GBX'
       WHERE currency = 'GBX'""": "nor whether it is a quotation unit",
    """INSERT INTO currencies (currency, major_currency, units_per_major)
       VALUES ('GBy', 'GBX', 10)""": "GBX, which is a quotation unit itself",
    "UPDATE currencies SET major_currency = 'GBX' WHERE currency = 'ILA'": "unit itself",
    """BEGIN; UPDATE market_prices SET price = 7;
       PREPARE TRANSACTION 'mine'""": "cannot be prepared.* Commit it in one phase",
}


@pytest.mark.parametrize("statement", REFUSED)
async def test_what_cannot_be_a_correction_is_refused(database: Database, statement: str) -> None:
    with pytest.raises(CorrectionRefusedError, match=REFUSED[statement]):
        await execute(database, statement)


@pytest.mark.parametrize("units", [0, 5, 60, 2_000_000_000])
async def test_a_quotation_unit_is_a_power_of_ten(
    connection: asyncpg.Connection, units: int
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(UNIT, units)


async def test_the_policy_is_changed_by_any_statement(database: Database) -> None:
    for statement in (
        "UPDATE valuation_policy SET fx_pivot_currency = 'USD'",
        """INSERT INTO valuation_policy (fx_pivot_currency, fx_max_age_sessions) VALUES ('EUR', 1)
           ON CONFLICT (singleton) DO UPDATE SET fx_max_age_sessions = 7""",
        """MERGE INTO valuation_policy p USING (VALUES (true)) v (one) ON v.one = p.singleton
           WHEN MATCHED THEN UPDATE SET fx_max_age_sessions = 8""",
    ):
        await execute(database, "DELETE FROM reprocessing_triggers")
        await execute(database, statement)
        assert await fetch(database, "SELECT kind, dates::text FROM reprocessing_triggers") == [
            ("POLICY", "{(,)}")
        ], statement
    # A database that has lost it before 0011 gets a new one, as a correction.
    await execute(
        database,
        """DELETE FROM reprocessing_triggers;
           ALTER TABLE valuation_policy DISABLE TRIGGER policy_deleted;
           DELETE FROM valuation_policy;
           INSERT INTO valuation_policy (fx_pivot_currency, fx_max_age_sessions)
           VALUES ('EUR', 5)""",
    )
    assert await fetch(database, "SELECT kind FROM reprocessing_triggers") == [("POLICY",)]


DAY = date(2024, 1, 2)


async def load_kuwaiti_book(database: Database, unit: str, price: str) -> None:
    """Load 32.5 shares of K, in KWD, quoted in a unit of it."""
    await open_days(database, [DAY], calendar="KW")
    portfolio = {"portfolio_id": ["KW"], "base_currency": ["KWD"], "calendar_id": ["KW"]}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame(portfolio))
    instrument = {
        "security_id": ["K"],
        "currency": ["KWD"],
        "contract_multiplier": ["0.000001"],
        "max_price_age_sessions": [3],
    }
    await load(database, Kind.INSTRUMENTS, pl.DataFrame(instrument))
    basis = "PER_CONTRACT" if "." in price else "PER_UNIT"
    await load(database, Kind.PRICES, prices("K", {DAY: price}, currency=unit, basis=basis))
    await load(database, Kind.POSITIONS, facts("KW", "K", {DAY: "32.5"}, cost="20"))


VALUED = """SELECT price, market_value FROM position_valuations
            WHERE portfolio_id = 'KW' AND reprocessing_status = 'CURRENT' AND date = '2024-01-02'"""


@pytest.mark.parametrize(
    ("units", "price", "unit_price", "market_value"),
    [
        (1000, "850", "0.85", "27.625"),
        (10, "850", "85", "2762.5"),
        (100, "850", "8.5", "276.25"),
        (10**9, "850", "0.00000085", "0.000027625"),
        # Rounded once, half-even: 1.2345678905e-9 and 1.2e-12 units are below the 18th place.
        (1000, "1.2345678905", "0.000000001234567890", "0.0000000401"),
        (10**6, "3.5", "0.000000000003500000", "0.0000000001"),
        (10**9, "25000.5", "0.000000000025000500", "0.0000000008"),
    ],
)
async def test_a_quotation_unit_of_any_power_of_ten_is_exact(
    url: str, database: Database, units: int, price: str, unit_price: str, market_value: str
) -> None:
    await execute(database, UNIT, units)
    await load_kuwaiti_book(database, "KWf", price)
    async with engine(url) as running:
        await running.settle()
    assert await fetch(database, VALUED) == [(Decimal(unit_price), Decimal(market_value))]
    async with database.connection() as reading:
        found = await compare(reading, await read_book(reading))
    assert found.agrees, found.examples


async def test_another_value_of_a_quotation_unit_is_a_correction(
    url: str, database: Database
) -> None:
    await execute(database, UNIT, 100)
    await load_kuwaiti_book(database, "KWf", "850")
    async with engine(url) as running:
        await running.settle()
        assert await fetch(database, VALUED) == [(Decimal("8.5"), Decimal("276.25"))]
        last = (await fetch(database, "SELECT max(trigger_id) FROM reprocessing_triggers"))[0][0]
        await execute(database, "UPDATE currencies SET currency = currency")
        await execute(
            database, "UPDATE currencies SET units_per_major = 1000 WHERE currency = 'KWf'"
        )
        recorded = """SELECT kind, security_id, dates::text FROM reprocessing_triggers
                      WHERE trigger_id > $1"""
        assert await fetch(database, recorded, last) == [("INSTRUMENT", "K", "{(,)}")]
        assert await fetch(database, VALUED) == []
        await running.settle()
    assert await fetch(database, VALUED) == [(Decimal("0.85"), Decimal("27.625"))]
    with pytest.raises(DataFaultError, match="security_quote_currencies"):
        await execute(database, "DELETE FROM currencies WHERE currency = 'KWf'")


async def is_blocked(database: Database, connection: asyncpg.Connection) -> bool:
    rows = await fetch(
        database, "SELECT cardinality(pg_blocking_pids($1)) > 0", connection.get_server_pid()
    )
    return bool(rows[0][0])


FIRST_USES = {
    "instrument": (
        "UPDATE instruments SET currency = 'EUR' WHERE security_id = 'N'",
        """INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no)
           SELECT portfolio_id, 'N', calendar_no, base_currency_no FROM position_state LIMIT 1""",
    ),
    "portfolio": (
        "UPDATE portfolios SET base_currency = 'GBP' WHERE portfolio_id = 'Q'",
        """INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no)
           SELECT 'Q', 'N', calendar_no, base_currency_no FROM position_state LIMIT 1""",
    ),
    "currency": (
        "UPDATE currencies SET units_per_major = 1000 WHERE currency = 'GBX'",
        "INSERT INTO market_prices VALUES ('N', '2024-01-02', 1, 'GBX', 'PER_UNIT')",
    ),
}
"""A change of something that nothing uses, and its first use by another transaction."""

NEW_NAMES = """
    INSERT INTO instruments (security_id, currency, max_price_age_sessions) VALUES ('N', 'USD', 3);
    INSERT INTO portfolios SELECT 'Q', base_currency, calendar_id FROM portfolios LIMIT 1
"""


@pytest.mark.parametrize("what", FIRST_USES)
async def test_a_change_waits_for_a_concurrent_first_use_and_sees_it(
    url: str, database: Database, connection: asyncpg.Connection, what: str
) -> None:
    change, use = FIRST_USES[what]
    await execute(database, NEW_NAMES)
    using = await asyncpg.connect(url)
    await using.execute(f"BEGIN; {use}")
    changing = asyncio.create_task(connection.execute(change))
    await until(lambda: is_blocked(database, connection))
    await using.execute("COMMIT")
    if what == "currency":
        await changing
        assert await fetch(
            database, "SELECT security_id FROM reprocessing_triggers WHERE kind = 'INSTRUMENT'"
        ) == [("N",)]
    else:
        with pytest.raises(asyncpg.RestrictViolationError, match="cannot change"):
            await changing
    await using.close()


@pytest.mark.parametrize("what", FIRST_USES)
async def test_a_first_use_waits_for_a_concurrent_change(
    url: str, database: Database, connection: asyncpg.Connection, what: str
) -> None:
    change, use = FIRST_USES[what]
    await execute(database, NEW_NAMES)
    await connection.execute(f"BEGIN; {change}")
    using = await asyncpg.connect(url)
    starting = asyncio.create_task(using.execute(use))
    await until(lambda: is_blocked(database, using))
    await connection.execute("COMMIT")
    if what == "portfolio":  # it has taken the numbers of the portfolio before
        with pytest.raises(asyncpg.RestrictViolationError, match="not that of its portfolio"):
            await starting
    else:
        await starting
    await using.close()


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("what", FIRST_USES)
async def test_a_change_by_an_old_snapshot_is_refused(
    database: Database, connection: asyncpg.Connection, what: str, isolation: str
) -> None:
    change, use = FIRST_USES[what]
    await execute(database, NEW_NAMES)
    await connection.execute(f"BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM portfolios")
    await execute(database, use)
    with pytest.raises(asyncpg.RestrictViolationError, match="reads committed data"):
        await connection.execute(change)


REPLICATED = (
    "UPDATE market_prices SET price = price + 1",
    "INSERT INTO market_prices VALUES ('A', '2024-03-01', 7, 'USD', 'PER_UNIT')",
    "DELETE FROM market_prices",
    "TRUNCATE market_prices",
    "UPDATE fx_rates SET rate = rate + 1",
    "INSERT INTO business_dates (calendar_id, business_date) VALUES ('CAL', '2024-03-01')",
    "UPDATE instruments SET currency = 'EUR'",
    "DELETE FROM portfolios",
    "UPDATE calendars SET revision = 7",
    "UPDATE currencies SET units_per_major = 1000 WHERE currency = 'GBX'",
    "DELETE FROM security_quote_currencies",
    "TRUNCATE security_quote_currencies",
    "UPDATE valuation_policy SET fx_max_age_sessions = 0",
    "DELETE FROM valuation_policy",
    "SET revalue.loading_positions = on; DELETE FROM position_history",
    "TRUNCATE valuation_policy",
    "TRUNCATE position_history",
)


@pytest.mark.parametrize("statement", REPLICATED)
async def test_a_replica_writes_no_inputs(connection: asyncpg.Connection, statement: str) -> None:
    await connection.execute("SET session_replication_role = replica")
    with pytest.raises(
        asyncpg.RestrictViolationError, match=r"cannot be written by replication|TRUNCATE of"
    ):
        await connection.execute(statement)


async def test_triggers_that_were_disabled_and_enabled_again_refuse_no_other_write(
    connection: asyncpg.Connection,
) -> None:
    """As pg_restore --data-only --disable-triggers does."""
    await connection.execute(
        """ALTER TABLE market_prices DISABLE TRIGGER ALL;
           ALTER TABLE market_prices ENABLE TRIGGER ALL"""
    )
    assert await connection.execute("DELETE FROM market_prices") != "DELETE 0"


@pytest.fixture(scope="module")
def logical_server() -> Iterator[tuple[str, Path]]:
    """A separate server with logical replication, and its log."""
    folder = Path(tempfile.mkdtemp(prefix="revalue-"))
    embedded.start(folder)
    embedded.stop(folder)
    directory = folder / "postgresql"
    with (directory / "postgresql.conf").open("a") as settings:
        settings.write("wal_level = logical\nmax_wal_senders = 4\n")
    yield embedded.start(folder), directory / "log"
    embedded.stop(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
async def test_a_subscription_that_feeds_prices_is_refused_with_one_sentence(
    logical_server: tuple[str, Path],
) -> None:
    server, log = logical_server
    admin = await asyncpg.connect(server)
    for name in ("feed", "book"):
        await admin.execute(f"CREATE DATABASE {name}")
    await schema.migrate(named(server, "book"))
    feed, book = [await asyncpg.connect(named(server, name)) for name in ("feed", "book")]
    await feed.execute(
        """CREATE TABLE market_prices (security_id text, price_date date, price numeric,
                                       currency text, quote_basis text);
           CREATE PUBLICATION prices FOR TABLE market_prices"""
    )
    await feed.execute("SELECT pg_create_logical_replication_slot('prices', 'pgoutput')")
    await book.execute(
        f"""CREATE SUBSCRIPTION prices CONNECTION 'dbname=feed user=postgres host={log.parent}'
            PUBLICATION prices WITH (create_slot = false, copy_data = false)"""
    )
    await book.execute(
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           VALUES ('A', 'USD', 1)"""
    )
    await feed.execute("INSERT INTO market_prices VALUES ('A', '2024-01-02', 7, 'USD', 'PER_UNIT')")

    async def refused() -> bool:
        return bool(await book.fetchval("SELECT apply_error_count FROM pg_stat_subscription_stats"))

    await until(refused)
    assert "market_prices cannot be written by replication" in log.read_text()
    assert await book.fetchval("SELECT count(*) FROM market_prices") == 0
    await book.execute("ALTER SUBSCRIPTION prices DISABLE")
    await book.execute("ALTER SUBSCRIPTION prices SET (slot_name = NONE)")
    await book.execute("DROP SUBSCRIPTION prices")
    for each in (feed, book, admin):
        await each.close()


PRICE_OF = "INSERT INTO market_prices VALUES ({}, '2024-01-20', 5, {}, 'PER_UNIT')"


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize(
    "statement",
    [
        PRICE_OF.format("'NONE'", "'USD'"),
        PRICE_OF.format("'A'", "'XXX'"),
        "UPDATE market_prices SET security_id = 'NONE' WHERE security_id = 'A'",
        "UPDATE market_prices SET currency = 'XXX' WHERE security_id = 'A'",
        "DELETE FROM instruments WHERE security_id = 'NEW'",
        "UPDATE instruments SET security_id = 'C' WHERE security_id = 'NEW'",
        "DELETE FROM currencies WHERE currency = 'SEK'",
    ],
)
async def test_a_price_has_a_security_and_a_currency_without_a_foreign_key(
    connection: asyncpg.Connection, statement: str, isolation: str
) -> None:
    """security_quote_currencies has the foreign keys: once per statement, and not once per row."""
    await connection.execute(
        "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
        "VALUES ('NEW', 'USD', 3)"
    )
    await connection.execute(PRICE_OF.format("'NEW'", "'SEK'"))
    before = await connection.fetch("TABLE market_prices ORDER BY 1, 2")
    with pytest.raises(asyncpg.PostgresError):
        async with connection.transaction(isolation=isolation.replace(" ", "_")):
            await connection.execute(statement)
    assert await connection.fetch("TABLE market_prices ORDER BY 1, 2") == before


async def test_a_security_that_is_deleted_while_its_first_price_comes_is_kept(
    url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
        "VALUES ('NEW', 'USD', 3)"
    )
    other = await asyncpg.connect(url)
    try:
        writing = other.transaction()
        await writing.start()
        await other.execute(PRICE_OF.format("'NEW'", "'USD'"))
        deleting = asyncio.create_task(
            connection.execute("DELETE FROM instruments WHERE security_id = 'NEW'")
        )
        pid = connection.get_server_pid()

        async def waits() -> bool:
            return bool(await other.fetchval("SELECT cardinality(pg_blocking_pids($1))", pid))

        await until(waits)
        await writing.commit()
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await asyncio.wait_for(deleting, 30)
    finally:
        await other.close()
    assert await connection.fetchval("SELECT count(*) FROM instruments WHERE security_id = 'NEW'")


POSITION_OF = """
    INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no)
    SELECT {}, {}, p.calendar_no, p.base_currency_no FROM position_state p LIMIT 1
"""
WITHOUT_PRICES = """
    INSERT INTO instruments (security_id, currency, max_price_age_sessions) VALUES ('NEW', 'USD', 3)
"""


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize(
    "statement",
    [
        POSITION_OF.format("'NONE'", "'NEW'"),
        POSITION_OF.format("p.portfolio_id", "'NONE'"),
        "INSERT INTO position_history VALUES (-1, '2024-01-20', 0, NULL, 1, 1, 1)",
        "DELETE FROM portfolios WHERE portfolio_id = 'P1'",
        "UPDATE portfolios SET portfolio_id = 'P9' WHERE portfolio_id = 'P1'",
        "DELETE FROM instruments WHERE security_id = 'NEW'",
        "UPDATE instruments SET security_id = 'C' WHERE security_id = 'NEW'",
        "DELETE FROM position_state WHERE security_id = 'A'",
        "UPDATE position_state SET position_id = DEFAULT",
        "TRUNCATE portfolios",
        "TRUNCATE position_state",
    ],
)
async def test_a_position_has_its_portfolio_its_security_and_its_records_without_a_foreign_key(
    connection: asyncpg.Connection, statement: str, isolation: str
) -> None:
    """The database triggers look once per statement, and not once per row."""
    await connection.execute(WITHOUT_PRICES)
    await connection.execute(POSITION_OF.format("p.portfolio_id", "'NEW'"))
    await connection.execute("SET revalue.loading_positions = on")
    with pytest.raises((asyncpg.ForeignKeyViolationError, asyncpg.RestrictViolationError)):
        async with connection.transaction(isolation=isolation.replace(" ", "_")):
            await connection.execute(statement)


async def test_what_has_no_positions_and_no_records_can_be_removed(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(WITHOUT_PRICES)
    await connection.execute(POSITION_OF.format("p.portfolio_id", "'NEW'"))
    for statement in (
        "DELETE FROM position_state WHERE security_id = 'NEW'",
        "UPDATE instruments SET security_id = 'C' WHERE security_id = 'NEW'",
        "DELETE FROM instruments WHERE security_id = 'C'",
        "INSERT INTO portfolios VALUES ('P8', 'USD', 'CAL')",
        "UPDATE portfolios SET portfolio_id = 'P9' WHERE portfolio_id = 'P8'",
        "DELETE FROM portfolios WHERE portfolio_id = 'P9'",
    ):
        assert (await connection.execute(statement)).endswith(" 1"), statement
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("INSERT INTO portfolios VALUES ('P8', 'USD', 'CAL')")
        with pytest.raises(asyncpg.RestrictViolationError, match="reads committed data"):
            async with connection.transaction():
                await connection.execute("DELETE FROM portfolios WHERE portfolio_id = 'P8'")


@pytest.mark.parametrize(
    ("prepare", "use", "remove"),
    [
        (
            WITHOUT_PRICES,
            POSITION_OF.format("p.portfolio_id", "'NEW'"),
            "DELETE FROM instruments WHERE security_id = 'NEW'",
        ),
        (
            "INSERT INTO portfolios VALUES ('NEW', 'USD', 'CAL')",
            POSITION_OF.format("'NEW'", "p.security_id"),
            "DELETE FROM portfolios WHERE portfolio_id = 'NEW'",
        ),
        (
            WITHOUT_PRICES + ";" + POSITION_OF.format("p.portfolio_id", "'NEW'"),
            """SET revalue.loading_positions = on;
               INSERT INTO position_history
               SELECT position_id, '2024-01-20', 0, NULL, 1, 1, 1
               FROM position_state WHERE security_id = 'NEW'""",
            "DELETE FROM position_state WHERE security_id = 'NEW'",
        ),
    ],
    ids=["an instrument", "a portfolio", "a position"],
)
async def test_what_is_removed_while_its_first_use_comes_is_kept(
    url: str, connection: asyncpg.Connection, prepare: str, use: str, remove: str
) -> None:
    await connection.execute(prepare)
    other = await asyncpg.connect(url)
    try:
        writing = other.transaction()
        await writing.start()
        await other.execute(use)
        removing = asyncio.create_task(connection.execute(remove))
        pid = connection.get_server_pid()

        async def waits() -> bool:
            return bool(await other.fetchval("SELECT cardinality(pg_blocking_pids($1))", pid))

        await until(waits)
        await writing.commit()
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await asyncio.wait_for(removing, 30)
    finally:
        await other.close()
