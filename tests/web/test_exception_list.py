"""What is to be looked at on a date, over HTTP and in the console."""

import csv
import io
from collections.abc import AsyncIterator
from decimal import Decimal

import httpx
import polars as pl
import pytest
from playwright.async_api import Page, expect

from revalue.console.web import exceptions as web_exceptions
from revalue.console.web.app import create_app
from revalue.engine.correct.corrections import corrections
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from tests.support import DAYS, Engine, execute
from tests.web.browser import browser, page, serving
from tests.web.test_access import bearing
from tests.web.test_api import client, got

DAY, BEFORE = DAYS[7], DAYS[6]


@pytest.fixture
async def moved(valued: Engine, database: Database) -> Engine:
    """The small book: the price of A moves from 106.25 to 150.5 on one date, that of B is missing.

    P1 reports in USD, P2 in EUR; both hold 7 of each. B is valued at its price of the date before.
    """
    await corrections.price(database, "A", DAY, Decimal("150.5"))
    await execute(
        database,
        "DELETE FROM market_prices WHERE security_id = 'B' AND price_date = $1",
        DAY,
    )
    await valued.settle()
    return valued


@pytest.fixture
async def web(url: str, moved: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as opened:
        yield opened


async def test_what_moved_and_what_is_old_is_listed_with_the_money(web: httpx.AsyncClient) -> None:
    found = await got(web, "/exceptions", date=DAY, portfolio="P1")
    assert found["dates"] == [str(DAY)]
    assert found["counts"] == {"OLD_PRICE": 1, "PRICE_MOVE": 1, "VALUE_MOVE": 1}
    assert found["next"] is None
    old, price, value = found["items"]
    assert (old["kind"], old["subject"], old["detail"]) == ("OLD_PRICE", "B", f"price of {BEFORE}")
    assert Decimal(str(old["market_value"])) == 7 * Decimal("56.25")
    assert (price["kind"], price["subject"], price["detail"]) == (
        "PRICE_MOVE",
        "A",
        "106.25 -> 150.5",
    )
    assert (price["positions"], price["base_currency"]) == (1, "USD")
    assert price["move_percent"] == pytest.approx(41.6471)
    assert Decimal(str(price["market_value"])) == 7 * Decimal("150.5")
    assert Decimal(str(price["change"])) == 7 * (Decimal("150.5") - Decimal("106.25"))
    assert value["subject"] == "P1 / A"

    fewer = await got(web, "/exceptions", date=DAY, portfolio="P1", move_percent=42, movers=0)
    assert fewer["counts"] == {"OLD_PRICE": 1}
    await got(web, "/exceptions", 404, portfolio="P9")
    await got(web, "/exceptions", 422, move_percent="nan")
    await got(web, "/exceptions", 404, date="1999-01-01")


async def test_pages_and_tables_have_the_same_lines(web: httpx.AsyncClient) -> None:
    whole = await got(web, "/exceptions", date=DAY)
    assert len(whole["items"]) == 7
    paged: list[dict[str, object]] = []
    after: object = 0
    while after is not None:
        found = await got(web, "/exceptions", date=DAY, limit=3, after=after)
        assert len(found["items"]) <= 3
        assert found["counts"] == whole["counts"]
        paged += found["items"]
        after = found["next"]
    assert paged == whole["items"]
    query = {"date": str(DAY), "limit": "5"}
    answer = await web.get("/exceptions", params=query, headers={"accept": "text/csv"})
    assert answer.headers["Revalue-Next"] == "5"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    shown = [(each["subject"], each["market_value"]) for each in whole["items"][:5]]
    assert [(row["subject"], row["market_value"]) for row in rows] == shown
    parquet = {"accept": "application/vnd.apache.parquet"}
    table = pl.read_parquet((await web.get("/exceptions", params=query, headers=parquet)).content)
    assert table["subject"].to_list() == [subject for subject, _ in shown]
    assert table["market_value"].to_list() == [Decimal(str(value)) for _, value in shown]


async def test_known_at_gives_the_list_of_that_time(
    web: httpx.AsyncClient, database: Database, moved: Engine
) -> None:
    answer = await web.get("/exceptions", params={"date": str(DAY)})
    then = answer.headers["Revalue-Known-At"]
    await corrections.price(database, "A", DAY, Decimal("106.5"))
    await moved.settle()
    now = await got(web, "/exceptions", date=DAY)
    assert "PRICE_MOVE" not in now["counts"]
    assert await got(web, "/exceptions", date=DAY, known_at=then) == answer.json()


async def test_a_limited_token_finds_the_exceptions_of_its_portfolios(
    url: str, database: Database, moved: Engine
) -> None:
    _, mine = await tokens.create(database, "mine", ["read"], portfolios=["P1"])
    async with client(url, require_token=True) as guarded:

        async def ask(**query: str) -> httpx.Response:
            return await guarded.get(
                "/exceptions", params={"date": str(DAY), **query}, headers=bearing(mine)
            )

        for query in ({}, {"portfolio": "P1"}):
            answer = await ask(**query)
            assert {each["base_currency"] for each in answer.json()["items"]} == {"USD"}
            assert answer.json()["counts"]["PRICE_MOVE"] == 1
            assert "Revalue-Known-At" not in answer.headers
        for other in ("P2", "P9"):
            answer = await ask(portfolio=other)
            assert (answer.status_code, f"no access to portfolio '{other}'" in answer.text) == (
                403,
                True,
            )


PRICE = {"kind": "price", "security_id": "A", "date": str(DAY)}


async def test_a_confirmed_price_is_told_again_when_it_is_corrected(
    web: httpx.AsyncClient, database: Database, moved: Engine
) -> None:
    async def moves(**query: object) -> list[object]:
        items = (await got(web, "/exceptions", date=DAY, movers=0, **query))["items"]
        return [
            (each["detail"], each["confirmed_by"], each["why"])
            for each in items
            if each["kind"] == "PRICE_MOVE" and each["base_currency"] == "USD"
        ]

    async def post(call: str, status: int = 200, **body: str) -> dict[str, object]:
        answer = await web.post(f"/exceptions:{call}", json={**PRICE, **body})
        assert answer.status_code == status, answer.text
        return answer.json()  # type: ignore[no-any-return]

    assert await moves() == [("106.25 -> 150.5", None, None)]
    made = await post("confirm", value="150.5", why="a takeover")
    assert (made["subject"], made["is_confirmed"], made["is_changed"]) == ("A", True, True)
    assert (await post("confirm", value="150.50", why="again"))["is_changed"] is False
    assert await moves() == []
    assert await moves(confirmed="true") == [("106.25 -> 150.5", "local", "a takeover")]
    await corrections.price(database, "A", DAY, Decimal("151"))
    await moved.settle()
    assert await moves() == [("106.25 -> 151", None, None)]
    assert (await post("confirm", value="151"))["is_changed"] is True
    assert await moves() == []
    assert Decimal(str((await post("unconfirm"))["value"])) == 151
    assert await moves() == [("106.25 -> 151", None, None)]
    assert "no price of A on" in str((await post("unconfirm", 404))["detail"])
    assert "no security 'X'" in str(
        (await post("confirm", 404, security_id="X", value="1"))["detail"]
    )
    await corrections.price(database, "A", BEFORE, Decimal("107"))
    await moved.settle()
    refused = await post("confirm", 409, value="151", value_before="106.25")
    assert refused["type"] == "urn:revalue:CorrectionRefusedError"
    assert "is compared with 107 now, and no longer with 106.25" in str(refused["detail"])
    await post("confirm", value="151", value_before="107.0")
    assert await moves() == []
    for gone in ("150.5", "0", "-5", "9" * 18):
        refused = await post("confirm", 409, value=gone)
        assert f"is 151 now, and not {gone}: it has been corrected" in str(refused["detail"])
        assert await moves() == [], "the confirmation in force stays"
    await post("confirm", 422, value="1e9")
    await post("confirm", 422, value="1", why="")


async def test_a_list_of_too_many_positions_is_refused(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_exceptions, "MAX_POSITIONS", 2)
    answer = await web.get("/exceptions", params={"date": str(DAY)})
    assert answer.status_code == 422
    assert answer.json()["title"] == "ReportTooLargeError"
    assert "more than 2 positions: ask for fewer portfolios" in answer.json()["detail"]
    assert (await got(web, "/exceptions", date=DAY, portfolio="P1"))["counts"]


async def test_a_rate_of_a_large_book_is_confirmed_with_the_value_before_that_was_seen(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_exceptions, "MAX_POSITIONS", 2)
    rate = {"kind": "rate", "local_currency": "USD", "base_currency": "EUR", "date": str(DAY)}
    call = {**rate, "value": "0.5"}
    answer = await web.post("/exceptions:confirm", json=call)
    assert (answer.status_code, answer.json()["title"]) == (422, "ReportTooLargeError")
    assert "give `value_before`" in answer.json()["detail"]
    answer = await web.post("/exceptions:confirm", json={**call, "value_before": "0.9"})
    assert (answer.status_code, answer.json()["is_changed"]) == (200, True), answer.text
    for wrong in ("0", "-0.5"):
        answer = await web.post(
            "/exceptions:confirm", json={**call, "value": wrong, "value_before": "0.9"}
        )
        assert (answer.status_code, "is positive" in answer.json()["detail"]) == (422, True)
    of_price = {**PRICE, "value": "150.5"}
    assert (await web.post("/exceptions:confirm", json=of_price)).status_code == 200, "few show it"


async def test_the_console_lists_the_exceptions_and_downloads_them(
    url: str, database: Database, moved: Engine
) -> None:
    async with browser() as opened:
        with serving(create_app(url)) as base:
            async with page(opened, base, expected="409") as shown:
                await shown.goto("")
                await shown.get_by_role("link", name="Exceptions").click()
                await shown.locator("#of-date").fill(str(DAY))
                await shown.locator("#of-portfolio").fill("P1")
                await shown.locator("#of-portfolio").press("Enter")
                moves = shown.locator("section", has_text="Price moved far")
                await expect(moves.locator("tbody tr")).to_have_count(1)
                await expect(moves).to_contain_text("106.25 -> 150.5")
                await expect(moves).to_contain_text("1,053.50 USD")
                await expect(moves).to_contain_text("+41.6 %")
                async with shown.expect_download() as waiting:
                    await shown.locator("#download").click()
                download = await waiting.value
                assert download.suggested_filename == f"exceptions-P1-{DAY}.csv"
                rows = list(csv.DictReader((await download.path()).open()))
                assert [row["kind"] for row in rows] == ["OLD_PRICE", "PRICE_MOVE", "VALUE_MOVE"]
                await moves.get_by_role("button", name="Confirm: A").click()
                await shown.locator("#confirm-why").fill("a takeover")
                await corrections.price(database, "A", BEFORE, Decimal(100))
                await moved.settle()
                await shown.keyboard.press("Enter")
                await expect(shown.locator("#confirm-problem")).to_contain_text("with 106.25")
                await shown.locator("#confirm-cancel").click()
                await shown.get_by_role("button", name="Refresh").click()
                await expect(moves).to_contain_text("100 -> 150.5")
                await moves.get_by_role("button", name="Confirm: A").click()
                await shown.locator("#confirm-why").fill("a takeover")
                await shown.keyboard.press("Enter")
                await expect(moves).to_have_count(0)
                await shown.get_by_label("with confirmed").check()
                await expect(moves).to_contain_text("Confirmed by local: a takeover")
                await moves.get_by_role("button", name="Unconfirm: A").click()
                await expect(
                    moves.get_by_role("button", name="Confirm: A", exact=True)
                ).to_be_visible()
                await shown.get_by_role("link", name="P1", exact=True).click()
                await expect(shown.get_by_role("heading", name="P1")).to_be_visible()
            async with page(opened, base, viewport={"width": 375, "height": 700}) as shown:
                await _is_readable_on_a_phone(shown)
            async with page(opened, base) as shown:
                await _sorts_amounts_within_a_currency(shown)


async def _sorts_amounts_within_a_currency(shown: Page) -> None:
    await shown.goto(f"#/exceptions?date={DAY}")
    moved_most = shown.locator("section", has_text="Value moved most")
    by_change = moved_most.get_by_role("columnheader", name="Change").get_by_role("button")
    changes = moved_most.locator("tbody tr")
    await expect(changes).to_have_count(3)
    for lines in (["EUR", "USD"], ["EUR", "USD"]):
        await by_change.click()
        await expect(changes.nth(0)).to_contain_text(lines[0])
        await expect(changes.nth(2)).to_contain_text(lines[1])


async def _is_readable_on_a_phone(shown: Page) -> None:
    await shown.goto(f"#/exceptions?date={DAY}")
    await shown.locator("#exceptions section").first.wait_for()
    assert await shown.evaluate("document.documentElement.scrollWidth") <= 375
