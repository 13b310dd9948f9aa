"""Files of holdings as people send them, again and whole, by the command line and by Python."""

import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

import revalue
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Database
from tests.conftest import book_template, drop_database, fresh_database
from tests.integration.test_cli import code, run
from tests.support import DAYS, facts, fetch

Holdings = list[tuple[str, str, date, int]]


@pytest.fixture
async def book_url(server_url: str, template: str) -> AsyncIterator[str]:
    """P1 and P2 hold 10.5 and then, from the fifth day on, 7 of A and of B."""
    address = await fresh_database(server_url, await book_template(server_url, template, 2))
    yield address
    await drop_database(server_url, address)


@pytest.fixture
async def database(book_url: str) -> AsyncIterator[Database]:
    async with await Database.open(book_url) as opened:
        yield opened


def csv(path: Path, frame: pl.DataFrame) -> str:
    frame.write_csv(path)
    return str(path)


async def held(database: Database, portfolio: str, security: str) -> list[tuple[date, str]]:
    """The records of a position that are valid now."""
    return await fetch(
        database,
        """SELECT position_date, trim_scale(quantity)::text
           FROM position_history JOIN position_state USING (position_id)
           WHERE portfolio_id = $1 AND security_id = $2 AND valid_to_epoch IS NULL
           ORDER BY position_date""",
        portfolio,
        security,
    )


async def test_an_earlier_file_that_is_sent_again_removes_later_records_only_if_asked_to(
    book_url: str, database: Database, tmp_path: Path
) -> None:
    later = {DAYS[4 + n]: str(20 + n) for n in range(12)}
    first = csv(tmp_path / "first.csv", facts("P1", "A", {DAYS[0]: "9"}))
    with revalue.connect(book_url) as book:
        book.load("positions", facts("P1", "A", later))
        loaded = book.load("positions", facts("P1", "A", {DAYS[0]: "8"}))
        assert (loaded.changed, loaded.removed, loaded.removed_records) == (1, 0, ())
    assert run(book_url, "load", "positions", first).output == (
        "positions: 1 row: 0 new, 1 changed, 0 unchanged; 1 position corrected, 0 extended\n"
    )
    assert await held(database, "P1", "A") == [(DAYS[0], "9"), *later.items()]
    assert await held(database, "P2", "A") == [(DAYS[0], "10.5"), (DAYS[4], "7")]

    lines = run(book_url, "load", "positions", first, "--replace").output.splitlines()
    assert lines[:2] == [
        "positions: 1 row: 0 new, 0 changed, 1 unchanged, 12 removed; 1 position corrected, "
        "0 extended",
        "Removed position records, the first 10 of 12 (all: --json)",
    ]
    shown = [line.replace("│", " ").split() for line in lines if "P1" in line]
    assert shown == [["P1", "A", str(day), number] for day, number in list(later.items())[:10]]
    assert await held(database, "P1", "A") == [(DAYS[0], "9")]


async def test_what_a_load_has_removed_can_be_loaded_again(
    book_url: str, database: Database, tmp_path: Path
) -> None:
    first = csv(tmp_path / "first.csv", facts("P2", "B", {DAYS[0]: "10.5"}))
    told = json.loads(run(book_url, "load", "positions", first, "--replace", "--json").stdout)
    assert told["removed"] == 1
    assert [(r["portfolio_id"], r["position_date"]) for r in told["removed_records"]] == [
        ("P2", str(DAYS[4]))
    ]
    assert await held(database, "P2", "B") == [(DAYS[0], "10.5")]
    with revalue.connect(book_url) as book:
        removed = book.load(
            "positions", facts("P2", "A", {DAYS[0]: "10.5"}), replace=True
        ).removed_records
        book.load("positions", pl.DataFrame([vars(record) for record in removed]))
    csv(tmp_path / "removed.csv", pl.DataFrame(told["removed_records"]))
    assert run(book_url, "load", "positions", str(tmp_path / "removed.csv")).exit_code == 0
    for security in "AB":
        assert await held(database, "P2", security) == [(DAYS[0], "10.5"), (DAYS[4], "7")]
    costs = await fetch(database, "SELECT DISTINCT cost_basis::int FROM position_history")
    assert costs == [(1000,)]


async def test_only_positions_have_histories_to_replace(book_url: str, tmp_path: Path) -> None:
    price = {"security_id": ["A"], "price_date": [DAYS[0]], "price": ["9"], "currency": ["USD"]}
    frame = pl.DataFrame({**price, "quote_basis": ["PER_UNIT"]})
    got, output = code(book_url, "load", "prices", csv(tmp_path / "prices.csv", frame), "--replace")
    assert (got, "only positions have" in output) == (2, True)
    with revalue.connect(book_url) as book, pytest.raises(UsageError, match="only positions have"):
        book.load("prices", frame, replace=True)
