"""The valuation policy and the currencies are shown and changed by commands."""

import json
from collections.abc import AsyncIterator

import pytest

from revalue.engine.correct.policy.currencies import add_currency
from revalue.engine.correct.policy.policy import Policy, change_policy, read_policy
from revalue.engine.errors import InvalidInputError, UsageError
from revalue.engine.postgres.database import Database
from tests.integration.test_cli import code, run
from tests.support import engine, fetch


@pytest.fixture
async def database(book_url: str) -> AsyncIterator[Database]:
    async with await Database.open(book_url) as opened:
        yield opened


async def test_a_change_of_the_policy_is_announced_as_a_correction_of_all(
    book_url: str, database: Database
) -> None:
    assert json.loads(run(book_url, "policy", "--json").stdout) == {"pivot": "EUR", "fx_max_age": 5}
    dry = run(book_url, "policy", "set", "--pivot", "USD", "--dry-run").output.splitlines()
    assert dry[0] == ("policy: pivot EUR -> USD, age limit of rates 5 business days (not written)")
    assert dry[1].startswith("would restate 4 positions, 80 position-days")
    assert await read_policy(database) == Policy("EUR", 5)
    done = run(book_url, "policy", "set", "--fx-max-age", "0").output.splitlines()
    assert done[0] == "policy: pivot EUR, age limit of rates 5 -> 0 business days"
    assert "up to 4 positions affected" in done[1]
    assert await read_policy(database) == Policy("EUR", 0)
    async with engine(book_url) as running:
        await running.settle()
    same = await change_policy(database, fx_max_age=0)
    assert (same.trigger_ids, same.old) == ((), same.new)
    queued = "SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL"
    assert await fetch(database, queued) == [(0,)]


async def test_a_policy_that_cannot_be_is_refused(book_url: str, database: Database) -> None:
    for given, message in (
        ({"pivot": "GBX"}, "the pivot: GBX is a quotation unit of GBP"),
        ({"pivot": "XXX"}, "the pivot: there is no currency 'XXX'"),
        ({"fx_max_age": -1}, "between 0 and 100,000 business days, not -1"),
        ({"fx_max_age": 100_001}, "not 100001"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            await change_policy(database, **given)
    with pytest.raises(UsageError, match="say what is to be changed"):
        await change_policy(database)
    assert code(book_url, "policy", "set")[0] == 2
    assert await read_policy(database) == Policy("EUR", 5)


async def test_currencies_are_listed_and_added(book_url: str, database: Database) -> None:
    told = json.loads(run(book_url, "currencies", "add", "KWf", "--unit-of", "KWD",
                          "--units", "1000", "--json").stdout)  # fmt: skip
    unit = {"currency": "KWf", "major_currency": "KWD", "units_per_major": 1000}
    assert told == {**unit, "is_new": True}
    assert run(book_url, "currencies", "add", "XAU").output == "XAU is a currency\n"
    assert "(it was there already)" in run(book_url, "currencies", "add", "XAU").output
    listed = json.loads(run(book_url, "currencies", "--json").stdout)
    assert unit in listed
    assert [each["currency"] for each in listed if each["major_currency"] == "GBP"] == [
        *("GBP", "GBX", "GBp")
    ]
    text = run(book_url, "currencies").output
    assert all(word in text for word in ("XAU", "KWf", "1,000"))
    with pytest.raises(InvalidInputError, match="are one unit of which currency"):
        await add_currency(database, "XAG", units=100)
    assert code(book_url, "currencies", "add", "usd")[0] == 65
