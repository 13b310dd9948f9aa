"""Each correction records who has made it and why, and its numbers show that."""

import getpass
import json
import socket
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

import revalue
from revalue import FileOf, Price
from revalue.engine.correct.authors import MAX_CHARACTERS, Author, sign
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import InvalidInputError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from tests.conftest import small_book
from tests.integration.test_cli import code, run
from tests.support import DAYS, Engine, engine, execute, fetch, prices

DAY = DAYS[7]
CLIENT = f"{getpass.getuser()}@{socket.gethostname()}"


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    async with small_book(server_url, template, 1) as address:
        yield address


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    async with engine(url) as running:
        await running.settle()
        yield running


async def test_every_number_says_who_has_corrected_it_and_why(
    url: str, database: Database, valued: Engine, tmp_path: Path
) -> None:
    """By the command, in Python, by a file, by a load, and past all of them."""
    day = str(DAY)
    file = tmp_path / "prices.csv"
    correct = ("correct", "price", "A", day, "31.5", "--why", "a typo")
    assert run(url, *correct).exit_code == 0
    await valued.settle()
    with revalue.connect(url) as book:
        book.correct(Price("A", DAY, Decimal("32.5")), why="not a typo")
        await valued.settle()
        book.correct(FileOf(prices("A", {DAY: "33.5"})))
        await valued.settle()
        position = ("correct", "position", "P1", "A", day, "9", "10", "10", "--why", "late trade")
        assert run(url, *position).exit_code == 0
        await valued.settle()
        prices("A", {DAY: "34.5"}).write_csv(file)
        assert run(url, "correct", "file", str(file), "--why", "vendor").exit_code == 0
        await valued.settle()
        book.load("prices", prices("A", {DAY: "35.5"}))
        await valued.settle()
        await execute(
            database,
            "UPDATE market_prices SET price = 36.5 WHERE security_id = 'A' AND price_date = $1",
            DAY,
        )
        await valued.settle()
        shown = book.changes("P1", "A", DAY)
    expected = [
        (None, None, None),
        ("PRICE", CLIENT, "a typo"),
        ("PRICE", CLIENT, "not a typo"),
        ("PRICE", CLIENT, None),
        ("POSITION", CLIENT, "late trade"),
        ("PRICE", CLIENT, "vendor"),
        ("PRICE", CLIENT, None),
        ("PRICE", "postgres", None),
    ]
    assert shown.select("cause", "corrected_by", "why").rows() == expected
    assert shown["changed"][1] == "price 107.25 -> 31.5"
    told = json.loads(run(url, "read", "changes", "P1", "A", day, "--json").stdout)
    assert [(each["cause"], each["corrected_by"], each["why"]) for each in told] == expected
    assert "(PRICE) of" in (explained := run(url, "explain", "P1", "A", day).output)
    assert "by postgres" in explained
    users = await fetch(database, "SELECT DISTINCT database_user FROM reprocessing_triggers")
    assert ("postgres",) in users


async def test_the_author_of_one_transaction_is_not_that_of_the_next(
    url: str, database: Database, valued: Engine
) -> None:
    with revalue.connect(url) as book:
        book.correct(Price("A", DAY, Decimal("32.5")), why="a typo")
        book.load("prices", prices("A", {DAY: "33.5"}))
        with pytest.raises(InvalidInputError, match="the reason is empty"):
            book.correct(Price("A", DAY, Decimal("34.5")), why="  ")
    status, said = code(
        url, "correct", "price", "A", str(DAY), "1", "--why", "x" * (MAX_CHARACTERS + 1)
    )
    assert status == InvalidInputError.exit_code
    assert "at most 1,000 characters" in said
    rows = await fetch(
        database,
        "SELECT why FROM reprocessing_triggers WHERE security_id = 'A' ORDER BY trigger_id DESC",
    )
    assert rows[:2] == [(None,), ("a typo",)]
    [[stored]] = await fetch(
        database,
        "SELECT price FROM market_prices WHERE security_id = 'A' AND price_date = $1",
        DAY,
    )
    assert stored == Decimal("33.5")


async def test_a_load_inside_of_a_correction_is_that_of_its_author(
    database: Database, valued: Engine
) -> None:
    async with database.transaction() as connection:
        await sign(connection, Author("ada", "a typo"))
        await load(OpenTransaction(connection), Kind.PRICES, prices("A", {DAY: "33.5"}))
    assert await fetch(
        database,
        "SELECT who, why FROM reprocessing_triggers WHERE security_id = 'A' "
        "ORDER BY trigger_id DESC LIMIT 1",
    ) == [("ada", "a typo")]
