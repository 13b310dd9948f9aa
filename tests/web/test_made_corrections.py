"""Corrections are made over HTTP: all or none, once per request, with who and why."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from revalue.console.web.app import create_app
from revalue.engine.correct.requests import KEEP_SECONDS
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from tests.support import DAYS, Engine, execute, fetch, until
from tests.web.browser import browser, page, serving
from tests.web.test_access import bearing
from tests.web.test_api import client, got

DAY = DAYS[7]
PRICE = {"kind": "price", "security_id": "A", "date": str(DAY), "price": "31.5"}
RATE = {
    "kind": "rate",
    "base_currency": "EUR",
    "quote_currency": "USD",
    "date": str(DAYS[3]),
    "rate": "1.5",
}
CLOSE = {
    "kind": "position",
    "portfolio_id": "P1",
    "security_id": "B",
    "date": str(DAYS[9]),
    **dict.fromkeys(("quantity", "cost_basis_local", "cost_basis"), "0"),
}
TRIGGERS = "SELECT kind, who, why, database_user FROM reprocessing_triggers WHERE why IS NOT NULL"


@pytest.fixture
async def web(url: str, valued: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as opened:
        yield opened


async def post(
    web: httpx.AsyncClient, *corrections: dict[str, Any], key: str = "k", why: str = "a typo"
) -> httpx.Response:
    return await web.post(
        "/corrections",
        json={"corrections": list(corrections), "why": why},
        headers={"Idempotency-Key": key},
    )


async def price(database: Database) -> Decimal:
    [[stored]] = await fetch(
        database,
        "SELECT price FROM market_prices WHERE security_id = 'A' AND price_date = $1",
        DAY,
    )
    return Decimal(stored)


async def test_corrections_are_made_together_and_say_who_and_why(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    answer = await post(web, PRICE, RATE, CLOSE, why="vendor file was cut off")
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["corrected_by"], made["why"]) == ("local", "vendor file was cut off")
    assert [each["what"].split()[0] for each in made["corrections"]] == [
        "price",
        "rate",
        "position",
    ]
    assert [Decimal(each["new"]) for each in made["corrections"][:2]] == [31.5, 1.5]
    assert await fetch(database, f"{TRIGGERS} ORDER BY trigger_id") == [
        (kind, "local", "vendor file was cut off", "postgres")
        for kind in ("PRICE", "FX", "POSITION")
    ]
    assert len(made["trigger_ids"]) == 3
    assert made["positions"] == 3 + 1  # A of P1 and both of P2; and B of P1
    in_progress = (await got(web, "/reprocessing"))["items"]
    assert {(each["corrected_by"], each["why"]) for each in in_progress} == {
        ("local", "vendor file was cut off")
    }
    await valued.settle()
    first, last = (await got(web, "/positions/P1/A/changes", date=DAY))["items"]
    assert (first["corrected_by"], first["why"]) == (None, None)
    assert (last["cause"], last["corrected_by"], last["why"]) == (
        "PRICE",
        "local",
        "vendor file was cut off",
    )
    stored = (await got(web, "/positions/P1/A/explain", date=DAY))["stored"]
    assert (stored["corrected_by"], stored["why"]) == ("local", "vendor file was cut off")  # type: ignore[call-overload]


async def test_if_one_correction_is_refused_none_is_made(
    web: httpx.AsyncClient, database: Database
) -> None:
    before = await price(database)
    missing = {**PRICE, "date": "2030-01-01"}
    answer = await post(web, PRICE, missing)
    assert (answer.status_code, answer.json()["title"]) == (404, "NotFoundError")
    assert await price(database) == before
    assert await fetch(database, TRIGGERS) == []
    answer = await post(web, {**PRICE, "price": "-1"})
    assert answer.status_code == 422
    assert (await post(web, PRICE)).status_code == 200, "a request that did nothing keeps no key"
    assert await price(database) == Decimal("31.5")


async def test_a_request_that_is_sent_again_is_done_once(
    web: httpx.AsyncClient, database: Database
) -> None:
    first = await post(web, PRICE)
    await execute(database, "UPDATE market_prices SET price = 40 WHERE security_id = 'A'")
    again = await post(web, PRICE)
    assert (again.status_code, again.content) == (200, first.content)
    assert await price(database) == 40
    for other in (
        await post(web, {**PRICE, "price": "32"}),
        await post(web, PRICE, why="another reason"),
    ):
        assert (other.status_code, other.json()["title"]) == (422, "KeyReusedError")
    assert (await post(web, PRICE, key="another")).status_code == 200
    assert await price(database) == Decimal("31.5")

    await execute(
        database,
        "UPDATE request_answers SET answered_at = answered_at - make_interval(secs => $1)",
        KEEP_SECONDS,
    )
    assert (await post(web, {**PRICE, "price": "33"})).status_code == 200, "its answer has expired"
    assert await price(database) == 33
    assert await fetch(database, "SELECT request_key FROM request_answers") == [("k",)]


async def test_a_request_beside_itself_is_refused(
    web: httpx.AsyncClient, database: Database
) -> None:
    """The first waits for a row that another transaction holds."""
    async with database.transaction() as holder:
        await holder.execute("SELECT FROM market_prices WHERE security_id = 'A' FOR UPDATE")
        first = asyncio.create_task(post(web, PRICE))

        async def is_at_work() -> bool:
            [[waiting]] = await fetch(
                database,
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database() AND application_name = 'revalue serve'",
            )
            return bool(waiting)

        await until(is_at_work)
        answer = await post(web, PRICE)
        assert (answer.status_code, answer.json()["title"]) == (409, "RequestInProgressError")
        assert not first.done()
    done = await first
    assert done.status_code == 200
    assert (await post(web, PRICE)).content == done.content
    assert await fetch(database, f"SELECT count(*) FROM ({TRIGGERS}) t") == [(1,)]


async def test_requests_for_the_same_rows_in_another_order_wait_for_each_other(
    web: httpx.AsyncClient, database: Database
) -> None:
    """Both wait for the price; made as they are asked for, the second would hold the rate."""

    async def are_waiting(requests: int) -> bool:
        [[waiting]] = await fetch(
            database,
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database() AND application_name = 'revalue serve'",
        )
        return bool(waiting == requests)

    async with database.transaction() as holder:
        await holder.execute("SELECT FROM market_prices WHERE security_id = 'A' FOR UPDATE")
        first = asyncio.create_task(post(web, PRICE, RATE, key="first"))
        await until(lambda: are_waiting(1))
        second = asyncio.create_task(post(web, RATE, {**PRICE, "price": "32"}, key="second"))
        await until(lambda: are_waiting(2))
    for answer, kinds in ((await first, ["price", "rate"]), (await second, ["rate", "price"])):
        assert answer.status_code == 200, answer.text
        made = answer.json()["corrections"]
        assert [each["what"].split()[0] for each in made] == kinds
    assert await price(database) == 32


async def test_corrections_of_one_row_are_made_as_they_are_asked_for(
    web: httpx.AsyncClient, database: Database
) -> None:
    answer = await post(web, {**PRICE, "price": "32"}, RATE, PRICE)
    made = answer.json()["corrections"]
    assert [Decimal(each["new"]) for each in made] == [32, Decimal("1.5"), Decimal("31.5")]
    assert Decimal(made[2]["old"]) == 32
    assert await price(database) == Decimal("31.5")


async def test_a_position_that_several_corrections_affect_counts_once(
    web: httpx.AsyncClient,
) -> None:
    held = {**CLOSE, "security_id": "A"}
    records = [{**held, "date": str(DAYS[n]), "quantity": str(n)} for n in range(5, 9)]
    answer = await post(web, *records, PRICE)
    assert (answer.status_code, answer.json()["positions"]) == (200, 2), answer.text  # A of P1, P2
    assert len(answer.json()["trigger_ids"]) > 2


async def test_a_rate_of_a_currency_that_was_added_is_corrected(
    web: httpx.AsyncClient, database: Database
) -> None:
    await execute(
        database,
        "INSERT INTO currencies (currency, major_currency, units_per_major) "
        "VALUES ('XXb', 'XXb', 1)",
    )
    await execute(database, "INSERT INTO fx_rates VALUES ('XXb', 'USD', $1, 2)", DAYS[3])
    answer = await post(web, {**RATE, "base_currency": "XXb"})
    assert answer.status_code == 200, answer.text
    assert (await post(web, {**RATE, "base_currency": "XbB"}, key="l")).status_code == 422


async def test_a_request_without_a_key_or_a_reason_is_refused(web: httpx.AsyncClient) -> None:
    answer = await web.post("/corrections", json={"corrections": [PRICE], "why": "x"})
    assert (answer.status_code, "Idempotency-Key is required" in answer.json()["detail"]) == (
        400,
        True,
    )
    for wrong in ("x" * 256, "a b", "a\tb", "\x7f"):
        assert (await post(web, PRICE, key=wrong)).status_code == 400, "as the document says"
    for unseen in (" ", "\u200b", " \t\u2800\u3164\n\u00a0"):
        assert (await post(web, PRICE, why=unseen)).status_code == 422
    assert (await post(web, PRICE, why="x" * 1001)).status_code == 422
    assert (await post(web, *[PRICE] * 101)).status_code == 422
    assert (await post(web)).status_code == 422
    other_site = {"Idempotency-Key": "k", "Origin": "http://elsewhere.example"}
    answer = await web.post(
        "/corrections", json={"corrections": [PRICE], "why": "x"}, headers=other_site
    )
    assert answer.status_code == 403


async def test_a_token_is_named_and_a_limited_one_is_not_told_of_others(
    url: str, database: Database, valued: Engine
) -> None:
    _, desk = await tokens.create(database, "desk", ["operate"])
    _, other = await tokens.create(database, "other", ["operate"])
    _, mine = await tokens.create(database, "mine", ["read", "operate"], portfolios=["P1"])
    _, every = await tokens.create(database, "every", ["read"])
    body = {"corrections": [PRICE], "why": "P2 told us"}
    async with client(url, require_token=True) as guarded:

        async def make(secret: str, correction: dict[str, Any]) -> httpx.Response:
            headers = {**bearing(secret), "Idempotency-Key": "k"}
            return await guarded.post(
                "/corrections", json={**body, "corrections": [correction]}, headers=headers
            )

        for correction in (PRICE, CLOSE):
            assert (await make(mine, correction)).status_code == 403
        assert (await make(every, PRICE)).status_code == 403
        assert (await make(desk, PRICE)).json()["corrected_by"] == "desk"
        assert (await make(other, RATE)).status_code == 200, "each token has keys of its own"
        await valued.settle()
        path = f"/positions/P1/A/changes?date={DAY}"
        for secret, shown in ((every, ("desk", "P2 told us")), (mine, (None, None))):
            [_, last] = (await guarded.get(path, headers=bearing(secret))).json()["items"]
            assert (last["corrected_by"], last["why"]) == shown
            explained = (
                await guarded.get(path.replace("changes", "explain"), headers=bearing(secret))
            ).json()
            assert (explained["stored"]["corrected_by"], explained["stored"]["why"]) == shown
        answer = await guarded.get(path, headers={**bearing(every), "accept": "text/csv"})
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["why"] for row in rows] == ["", "P2 told us"]


async def test_a_token_does_not_inherit_the_keys_of_another_one_with_its_name(
    url: str, database: Database, valued: Engine
) -> None:
    async with client(url) as web:
        assert (await post(web, PRICE)).status_code == 200  # of the caller "local"
    async with client(url, require_token=True) as guarded:
        for name, new in (("local", "32"), ("desk", "33"), ("desk", "34")):
            _, secret = await tokens.create(database, name, ["operate"])
            answer = await guarded.post(
                "/corrections",
                json={"corrections": [{**PRICE, "price": new}], "why": "a typo"},
                headers={**bearing(secret), "Idempotency-Key": "k"},
            )
            assert (answer.status_code, await price(database)) == (200, Decimal(new)), answer.text
            await tokens.revoke(database, name)


async def test_a_database_that_is_read_only_is_told(
    url: str, database: Database, valued: Engine
) -> None:
    [[name]] = await fetch(database, "SELECT current_database()")
    await execute(database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        async with client(url) as web:
            answer = await post(web, PRICE)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert "read-only" in answer.json()["detail"]
            assert answer.headers["Retry-After"] == "1"
    finally:
        async with database.connection() as connection:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


async def test_the_console_previews_a_correction_and_makes_it(
    url: str, database: Database, valued: Engine
) -> None:
    async with browser() as opened:
        with serving(create_app(url)) as base:
            async with page(opened, base, expected="404") as shown:
                await shown.goto(f"#/correct?kind=price&security_id=A&date={DAY}")
                await shown.get_by_label("New price").fill("31.5")
                await shown.keyboard.press("Enter")
                await expect(shown.locator("#told")).to_contain_text("107.25 → 31.5")
                await expect(shown.locator("#told")).to_contain_text("P1 / A")
                assert await price(database) == Decimal("107.25")
                await shown.locator("#why").fill("a typo")
                await shown.get_by_role("button", name="Make this correction").click()
                await expect(shown.locator("#made")).to_contain_text("Up to 2 positions")
                assert await price(database) == Decimal("31.5")
                await shown.get_by_label("Date of the record").fill("2030-01-01")
                await shown.get_by_role("button", name="Preview").click()
                await expect(shown.get_by_role("alert")).to_contain_text("has no price dated")
                await valued.settle()
                await shown.goto(f"#/portfolio/P1?date={DAY}")
                await shown.get_by_role("button", name="A: market value").click()
                await expect(shown.get_by_role("dialog")).to_contain_text(
                    "Corrected by local: a typo"
                )
            async with page(opened, base, viewport={"width": 375, "height": 700}) as shown:
                await shown.goto("#/correct?kind=position")
                await expect(shown.get_by_label("Quantity")).to_be_visible()
                assert await shown.evaluate("document.documentElement.scrollWidth") <= 375
