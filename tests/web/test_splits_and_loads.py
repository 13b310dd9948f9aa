"""Splits are made, and loads are listed and taken back, over HTTP: once, with who and why."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from tests.support import DAYS, Engine, facts, fetch, prices
from tests.web.test_access import bearing
from tests.web.test_api import client, got

SPLIT = {"security_id": "A", "date": str(DAYS[3]), "ratio": "3:2"}
HELD = """SELECT portfolio_id, position_date, quantity FROM position_history
          JOIN position_state USING (position_id)
          WHERE security_id = 'A' AND valid_to_epoch IS NULL ORDER BY 1, 2"""
SIGNED = "SELECT DISTINCT who, why FROM reprocessing_triggers WHERE why IS NOT NULL"


@pytest.fixture
async def web(url: str, valued: Engine, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """The small book: P1 and P2 hold 10.5 and then, from the fifth day on, 7 of A and of B."""
    await valued.settle()
    _, secret = await tokens.create(database, "desk", ["read", "operate"])
    async with client(url, require_token=True, preview_wait_seconds=None) as opened:
        opened.headers.update(bearing(secret))
        yield opened


async def post(
    web: httpx.AsyncClient, path: str, status: int = 200, *, key: str = "k", **body: Any
) -> dict[str, Any]:
    answer = await web.post(path, json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_split_is_previewed_and_made_and_taken_back(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    before = await fetch(database, HELD)
    would = await post(web, "/splits:preview", **SPLIT)
    assert await fetch(database, HELD) == before
    told = would["correction"]
    assert (told["holders"], told["records"], told["ratio"]) == (2, 4, "3:2")
    first = {"portfolio_id": "P1", "position_date": str(DAYS[3])}
    numbers = {"quantity": "10.5000000000", "new_quantity": "15.7500000000"}
    assert told["quantities"][0] == {**first, **numbers}
    assert "do not show a split 3:2" in told["price_warning"]
    assert would["positions"] == 2

    made = await post(web, "/splits", **SPLIT, why="ex-date")
    assert (made["corrected_by"], made["why"]) == ("desk", "ex-date")
    assert {name: made[name] for name in told} == told, "what was previewed is made"
    after = await fetch(database, HELD)
    assert [row for row in after if row[0] == "P2"] == [
        ("P2", DAYS[0], Decimal("10.5")),
        ("P2", DAYS[3], Decimal("15.75")),
        ("P2", DAYS[4], Decimal("10.5")),
    ]
    assert await fetch(database, SIGNED) == [("desk", "ex-date")]
    [newest] = (await got(web, "/loads", limit=1))["items"]
    assert (newest["load_id"], newest["client"], newest["is_revertible"]) == (
        made["load_id"],
        "desk",
        True,
    )
    assert newest["source"] == f"split of A on {DAYS[3]} 3:2"
    await valued.settle()
    [line] = [
        each
        for each in (await got(web, "/portfolios/P1/positions", as_of=DAYS[3]))["items"]
        if each["security_id"] == "A"
    ]
    assert Decimal(line["quantity"]) == Decimal("15.75")

    call = f"/loads/{made['load_id']}"
    would = await post(web, f"{call}:preview-revert")
    assert would["correction"]["restored"] + would["correction"]["deleted"] == 4
    assert await fetch(database, HELD) == after
    back = await post(web, f"{call}:revert", key="back", why="no split")
    assert {name: back[name] for name in would["correction"]} == would["correction"]
    assert (back["reverts"], back["kind"], back["corrected_by"]) == (
        made["load_id"],
        "positions",
        "desk",
    )
    assert await fetch(database, HELD) == before
    [newest] = (await got(web, "/loads", limit=1))["items"]
    assert (newest["load_id"], newest["reverts"]) == (back["load_id"], made["load_id"])


async def test_a_split_and_a_revert_that_are_sent_again_are_done_once(
    web: httpx.AsyncClient, database: Database
) -> None:
    made = await post(web, "/splits", **SPLIT, why="ex-date")
    after = await fetch(database, HELD)
    assert await post(web, "/splits", **SPLIT, why="ex-date") == made
    assert await fetch(database, HELD) == after
    other = await post(web, "/splits", 422, **{**SPLIT, "ratio": "2:1"}, why="ex-date")
    assert other["type"] == "urn:revalue:KeyReusedError"

    call = f"/loads/{made['load_id']}:revert"
    back = await post(web, call, key="back", why="no split")
    assert await post(web, call, key="back", why="no split") == back
    other = await post(web, f"/loads/{back['load_id']}:revert", 422, key="back", why="no split")
    assert other["type"] == "urn:revalue:KeyReusedError", "the load is part of what is asked for"


async def test_what_is_refused_changes_nothing_and_says_why(
    web: httpx.AsyncClient, database: Database
) -> None:
    made = await post(web, "/splits", **SPLIT, why="ex-date")
    after = await fetch(database, HELD)
    again = {**SPLIT, "date": str(DAYS[5])}
    refused = await post(web, "/splits", 409, key="2", **again, why="pay date")
    assert refused["type"] == "urn:revalue:CorrectionRefusedError"
    assert f"3:2 on {DAYS[3]}, as load {made['load_id']}" in refused["detail"]
    assert "over HTTP `again`" in refused["detail"]
    assert (await post(web, "/splits:preview", 409, **again))["detail"] == refused["detail"]
    assert (await post(web, "/splits:preview", again=True, **again))["positions"] == 2
    for wrong, status in (
        ({"security_id": "X"}, 404),
        ({"ratio": "3:3"}, 422),
        ({"ratio": "1.5"}, 422),
        ({"ratio": "1:11", "again": True}, 422),  # no exact quantities
        ({"date": "9999-12-31"}, 422),
        ({"date": str(DAYS[5]), "again": "yes"}, 422),
        ({"date": str(DAYS[5]), "again": 1}, 422),
    ):
        await post(web, "/splits", status, key="2", **{**SPLIT, **wrong}, why="ex-date")
    assert await fetch(database, HELD) == after

    loaded = await load(database, Kind.PRICES, prices("A", {DAYS[5]: "55", DAYS[6]: "56"}))
    await corrections.price(database, "A", DAYS[6], Decimal(57))
    call = f"/loads/{loaded.load_id}:revert"
    refused = await post(web, call, 409, key="2", why="a wrong file")
    preview = f"/loads/{loaded.load_id}:preview-revert"
    assert (await post(web, preview, 409))["detail"] == refused["detail"]
    assert "1 of the 2 rows that it has changed were changed since" in refused["detail"]
    await post(web, call, 422, key="2", keep_later="on", why="a wrong file")
    back = await post(web, call, key="2", keep_later=True, why="a wrong file")
    assert (back["restored"], back["kept"]) == (1, 1)
    assert (await post(web, "/loads/999999:revert", 404, key="3", why="x"))[
        "title"
    ] == "NotFoundError"
    [portfolios] = (await got(web, "/loads", kind="portfolios"))["items"]
    refused = await post(web, f"/loads/{portfolios['load_id']}:revert", 422, key="4", why="x")
    assert refused["type"] == "urn:revalue:UsageError"
    answer = await web.post("/splits", json={**SPLIT, "why": "x"})
    assert (answer.status_code, "Idempotency-Key is required" in answer.text) == (400, True)


async def test_records_that_have_the_new_quantities_are_multiplied_only_if_one_says_so(
    web: httpx.AsyncClient, database: Database
) -> None:
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[6]: "14"}))
    before = await fetch(database, HELD)
    stated = {"security_id": "A", "date": str(DAYS[6]), "ratio": "2:1"}
    refused = await post(web, "/splits", 409, **stated, why="ex-date")
    assert f"P1 on {DAYS[6]} (14)" in refused["detail"]
    assert (await post(web, "/splits:preview", 409, **stated))["detail"] == refused["detail"]
    assert await fetch(database, HELD) == before
    made = await post(web, "/splits", **stated, all_records=True, why="ex-date")
    assert made["records"] == 2
    assert ("P1", DAYS[6], Decimal(28)) in await fetch(database, HELD)


async def test_loads_are_listed_in_pages(web: httpx.AsyncClient, database: Database) -> None:
    whole = (await got(web, "/loads"))["items"]
    assert len(whole) > 4
    numbers = [each["load_id"] for each in whole]
    assert numbers == sorted(numbers, reverse=True)
    paged: list[Any] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        found = await got(web, "/loads", **query)
        paged += found["items"]
        if found["next"] is None:
            break
        query["before"] = found["next"]
    assert paged == whole
    kinds = {each["kind"] for each in (await got(web, "/loads", kind="prices"))["items"]}
    assert kinds == {"prices"}
    await got(web, "/loads", 422, kind="nothing")
