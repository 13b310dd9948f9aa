"""`verify` compares what is current, and counts what is known not to be."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from revalue.console.cli.verify import Verified, describe, verify_rows
from revalue.engine.correct.corrections import corrections
from revalue.engine.postgres.database import Database
from tests.conftest import small_book
from tests.integration.test_cli import code
from tests.support import DAYS, Engine, engine, execute, fetch, open_days, weekdays

ROWS = 4 * len(DAYS)
WRONG = """UPDATE daily_position_snapshots SET market_value = market_value + 1
           WHERE date = $1 AND (position_id, 'P1', $2) IN (
               SELECT position_id, portfolio_id, security_id FROM position_state)"""


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    """The small book, valued: P1 and P2 hold A and B."""
    async with small_book(server_url, template, 2) as address:
        yield address


@pytest.fixture
async def valued(url: str) -> AsyncIterator[Engine]:
    async with engine(url) as running:
        yield running


async def verified(database: Database) -> Verified:
    """All positions; a sample that is large enough finds the same."""
    found = await verify_rows(database, rows=None, seed=0)
    sampled = await verify_rows(database, rows=10**9, seed=1)
    assert {**vars(found), "examples": len(found.examples)} == {
        **vars(sampled),
        "examples": len(sampled.examples),
    }
    return found


async def test_a_correction_in_progress_is_no_disagreement(
    url: str, valued: Engine, database: Database
) -> None:
    assert await verified(database) == Verified(4, ROWS, 0, 0, 0, 0, ())
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    found = await verified(database)
    assert (found.positions, found.rows, found.disagreements) == (2, ROWS // 2, 0)
    assert (found.in_progress, found.positions_in_progress) == (ROWS // 2, 2)
    assert code(url, "verify", "--all")[0] == 0
    assert "; 40 position-days of 2 positions in progress, not compared" in describe(found)
    await execute(database, WRONG, DAYS[7], "A")
    assert (await verified(database)).disagreements == 0  # it is known not to be right
    await execute(database, WRONG, DAYS[7], "B")
    found = await verified(database)
    assert (found.disagreements, found.in_progress) == (1, ROWS // 2)
    assert code(url, "verify", "--all")[0] == 1


async def test_dates_that_are_due_are_in_progress_and_the_others_are_compared(
    valued: Engine, database: Database
) -> None:
    await open_days(database, weekdays(DAYS[-1], 3)[1:])
    found = await verified(database)
    assert (found.rows, found.disagreements) == (ROWS, 0)
    assert (found.positions, found.in_progress, found.positions_in_progress) == (4, 8, 4)
    await execute(database, WRONG, DAYS[3], "A")
    assert (await verified(database)).disagreements == 1
    await execute(database, "DELETE FROM daily_position_snapshots WHERE date = $1", DAYS[3])
    assert (await verified(database)).disagreements == 4


async def test_what_lacks_data_waits(valued: Engine, database: Database) -> None:
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[10]
    )
    await valued.settle()
    found = await verified(database)
    # A price may be three business days old.
    lacking = 2 * (len(DAYS) - 14)
    assert (found.positions, found.rows) == (4, ROWS - lacking)
    assert (found.disagreements, found.in_progress, found.waiting) == (0, 0, lacking)
    assert describe(found).endswith(
        f"; {lacking} position-days without a value, because data is missing"
    )
    await execute(
        database, "INSERT INTO market_prices VALUES ('A', $1, 9, 'USD', 'PER_UNIT')", DAYS[-1]
    )
    await valued.settle()
    assert (await verified(database)).waiting == lacking - 2
    await execute(database, WRONG, DAYS[-1], "A")  # after the dates without a value
    assert (await verified(database)).disagreements == 1


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (
            ["ALTER TABLE market_prices ALTER COLUMN price TYPE numeric(28,10) USING price * 2"],
            ROWS,
        ),
        (
            ["ALTER TABLE fx_rates ALTER COLUMN rate TYPE numeric(28,18) USING rate * 2"],
            ROWS // 2,
        ),
        (
            [
                "CREATE TABLE more_prices () INHERITS (market_prices)",
                f"INSERT INTO more_prices VALUES ('A', '{DAYS[10]}', 9, 'USD', 'PER_UNIT')",
            ],
            2,
        ),
        (
            [
                "ALTER TABLE market_prices DISABLE TRIGGER USER",
                f"UPDATE market_prices SET price = price + 1 WHERE price_date = '{DAYS[3]}'",
                "ALTER TABLE market_prices ENABLE TRIGGER USER",
            ],
            4,
        ),
    ],
    ids=["column of prices", "column of rates", "child", "disabled trigger"],
)
async def test_what_ddl_changes_past_the_triggers_is_found(
    changes: list[str], wrong: int, url: str, valued: Engine, database: Database
) -> None:
    await corrections.delete_price(database, "A", DAYS[10])
    await valued.settle()
    for change in changes:
        await execute(database, change)
    assert await fetch(
        database, "SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL"
    ) == [(0,)]
    assert (await verified(database)).disagreements == wrong
    assert code(url, "verify", "--all")[0] == 1


@pytest.mark.parametrize(
    ("table", "change", "named"),
    [
        (
            "market_prices",
            "INSERT INTO market_prices VALUES ('A', '20000-01-01', 9, 'USD', 'PER_UNIT')",
            "market_prices A: 20000-01-01",
        ),
        (
            "market_prices",
            "INSERT INTO market_prices VALUES ('A', '0044-03-15 BC', 9, 'USD', 'PER_UNIT')",
            "market_prices A: 0044-03-15 BC",
        ),
        (
            "fx_rates",
            "INSERT INTO fx_rates VALUES ('EUR', 'USD', '-infinity', 9)",
            "fx_rates EUR/USD: -infinity",
        ),
        (
            "instruments",
            "UPDATE instruments SET contract_multiplier = 'NaN' WHERE security_id = 'A'",
            "instruments A: contract_multiplier NaN",
        ),
    ],
)
async def test_a_row_that_no_rule_can_use_is_named(
    table: str, change: str, named: str, url: str, valued: Engine, database: Database
) -> None:
    """The database refuses such rows today; one may be older."""
    checks = await fetch(
        database,
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::regclass",
        table,
    )
    for (check,) in checks:
        await execute(database, f'ALTER TABLE {table} DROP CONSTRAINT "{check}"')
    await execute(database, change)
    found = await verified(database)
    assert (found.disagreements, found.unusable) == (0, (named,))
    exit_code, output = code(url, "verify", "--all")
    assert (exit_code, f"not used, because no rule can use it: {named}" in output) == (0, True)
