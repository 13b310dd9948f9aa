"""Requests that operate: previews of corrections, the retry of a job, and the estimated time."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from revalue.engine.correct import corrections
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import DAYS, Engine, execute, fetch, prices
from tests.web.test_api import client, got

PRICE = {"kind": "price", "security_id": "A", "date": DAYS[7].isoformat(), "price": "31.5"}
RATE = {
    "kind": "rate",
    "base_currency": "EUR",
    "quote_currency": "USD",
    "date": DAYS[3].isoformat(),
    "rate": "1.5",
}
CLOSE = {
    "kind": "position",
    "portfolio_id": "P1",
    "security_id": "B",
    "date": DAYS[9].isoformat(),
    **dict.fromkeys(("quantity", "cost_basis_local", "cost_basis"), "0"),
}
OTHERS = [
    {
        "kind": "position",
        "portfolio_id": portfolio,
        "security_id": security,
        "date": day.isoformat(),
        "quantity": quantity,
        "cost_basis_local": "10",
        "cost_basis": "9.5",
    }
    for portfolio, security, day, quantity in (
        ("P1", "A", DAYS[5], "4"),
        ("P2", "A", DAYS[2], "-7.5"),
        ("P1", "A", DAYS[11], "6"),
    )
]
TABLES = (
    "market_prices fx_rates position_history position_state reprocessing_triggers "
    "portfolio_valuation_jobs daily_position_snapshots moments publications deferred_jobs"
).split()


@pytest.fixture
async def web(url: str, valued: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as opened:
        yield opened


async def values(database: Database) -> dict[tuple[str, str], Decimal]:
    """Return the market value by portfolio and date."""
    rows = await fetch(
        database,
        "SELECT portfolio_id, date::text, sum(market_value) FROM position_valuations GROUP BY 1, 2",
    )
    return {(portfolio, day): total for portfolio, day, total in rows}


async def everything(database: Database) -> list[Any]:
    return [await fetch(database, f"SELECT t::text FROM {table} t ORDER BY 1") for table in TABLES]


async def test_a_preview_of_several_corrections_is_what_then_happens(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    stored = await everything(database)
    before = await values(database)
    answer = await web.post(
        "/corrections:preview", json=[PRICE, OTHERS[0], RATE, CLOSE, *OTHERS[1:]]
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert await everything(database) == stored
    assert [each["what"].split()[0] for each in told["correction"]] == [
        *("price", "position", "rate", "position", "position", "position")
    ]
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
    await corrections.position(database, "P1", "B", DAYS[9], Decimal(0), Decimal(0), Decimal(0))
    for other in OTHERS:
        await corrections.position(
            database,
            other["portfolio_id"],
            other["security_id"],
            date.fromisoformat(other["date"]),
            *(Decimal(other[name]) for name in ("quantity", "cost_basis_local", "cost_basis")),
        )
    await valued.settle()
    after = await values(database)
    assert {line["portfolio_id"] for line in told["portfolios"]} == {"P1", "P2"}
    for line in told["portfolios"]:
        position = (line["portfolio_id"], line["date"])
        assert Decimal(line["change"]) == after.get(position, 0) - before[position] != 0


@pytest.mark.parametrize(
    ("kind", "rows"), [("text/csv; charset=utf-8", 3), ("application/vnd.apache.parquet", 3)]
)
async def test_a_preview_of_a_file_is_what_then_happens(
    kind: str, rows: int, web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    frame = prices("A", {DAYS[2]: "7", DAYS[3]: "8.125", DAYS[11]: f"{100 + 11}.25"})
    content = io.BytesIO()
    frame.write_csv(content) if kind.startswith("text") else frame.write_parquet(content)
    stored = await everything(database)
    before = await values(database)
    answer = await web.post(
        "/corrections:preview-file", content=content.getvalue(), headers={"content-type": kind}
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert await everything(database) == stored
    assert (told["correction"]["rows"], told["correction"]["changed"], told["positions"]) == (
        rows,
        2,
        2,
    )
    await corrections.file(database, frame)
    await valued.settle()
    after = await values(database)
    for line in told["portfolios"]:
        position = (line["portfolio_id"], line["date"])
        assert Decimal(line["change"]) == after[position] - before[position] != 0
    assert {line["portfolio_id"] for line in told["portfolios"]} == {"P1", "P2"}


async def test_a_wrong_file_is_a_problem(web: httpx.AsyncClient) -> None:
    good = b"security_id,price_date,price,currency,quote_basis\nA,2024-01-02,%b,USD,PER_UNIT\n"
    for content, kind, status, detail in (
        (good % b"-1", "text/csv", 422, "line 2: -1"),
        (
            good % b"1" + b"A,2030-01-02,1,USD,PER_UNIT\n",
            "text/csv",
            422,
            "the body: 2 rows, nothing loaded",
        ),
        (b"", "text/csv", 422, "the body cannot be read"),
        (b"PAR1", "application/vnd.apache.parquet", 422, "the body cannot be read"),
        (b"a,b\n1,2\n", "text/csv", 422, "a file of corrections has the columns"),
        (good % b"1", "application/json", 415, "not application/json"),
        (good % b"1", "", 415, "without a Content-Type"),
    ):
        answer = await web.post(
            "/corrections:preview-file", content=content, headers={"content-type": kind}
        )
        assert (answer.status_code, answer.headers["content-type"]) == (
            status,
            "application/problem+json",
        ), answer.text
        assert detail in answer.json()["detail"]


async def test_a_wrong_correction_is_a_problem(web: httpx.AsyncClient) -> None:
    for body, status in (
        ({**PRICE, "security_id": "Z"}, 404),
        ({**PRICE, "price": "-1"}, 422),
        ({**PRICE, "price": "0.12345678901"}, 422),
        ({**PRICE, "security_id": "\0"}, 422),
        ({**PRICE, "more": 1}, 422),
        ([], 422),
        ([PRICE] * 101, 422),
        ({**CLOSE, "portfolio_id": "P9"}, 422),
    ):
        answer = await web.post("/corrections:preview", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (
            status,
            "application/problem+json",
        ), answer.text


async def test_previews_are_made_one_at_a_time_and_give_way(
    url: str, database: Database, valued: Engine
) -> None:
    async with client(url, timeout_seconds=5) as web, database.transaction() as blocking:
        await blocking.execute("UPDATE market_prices SET price = price WHERE security_id = 'A'")
        first = asyncio.create_task(web.post("/corrections:preview", json=PRICE))
        waits = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'revalue preview' AND wait_event_type = 'Lock'"
        )
        while (await fetch(database, waits))[0][0] == 0:
            assert not first.done()
        second = await web.post("/corrections:preview", json=PRICE)
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        gave_way = await first
        assert (gave_way.status_code, gave_way.json()["title"]) == (503, "WriteConflictError")
    async with client(url, timeout_seconds=0.05) as web, database.transaction() as blocking:
        await blocking.execute("UPDATE market_prices SET price = price WHERE security_id = 'A'")
        answer = await web.post("/corrections:preview", json=PRICE)
        assert (answer.status_code, answer.json()["title"]) == (503, "StatementCancelledError")


async def test_a_failed_job_is_requeued(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date >= $1", DAYS[4]
    )
    await valued.settle()
    waiting = (await got(web, "/jobs?status=WAITING_FOR_DATA"))["items"]
    job = waiting[0]["job_id"]
    assert (await web.post(f"/jobs/{job}:retry")).json() == {"job_id": job, "status": "PENDING"}
    assert await fetch(
        database, "SELECT count(*) FROM deferred_jobs WHERE not_before <= clock_timestamp()"
    ) == [(1,)]
    [[done]] = await fetch(
        database, "SELECT min(job_id) FROM portfolio_valuation_jobs WHERE status = 'COMPLETE'"
    )
    for number, status in ((done, 409), (2**62, 404), (-1, 422), ("x", 422)):
        assert (await web.post(f"/jobs/{number}:retry")).status_code == status


async def test_how_long_it_will_take(url: str, database: Database, valued: Engine) -> None:
    async with client(url, settings=Settings(lease_seconds=60)) as web:
        told: Any = await got(web, "/reprocessing")
        assert (told["remaining_position_days"], told["estimated_seconds"]) == (0, 0)
        await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
        told = await got(web, "/reprocessing")
        assert (told["triggers_queued"], told["estimated_seconds"]) == (
            1,
            None,
        )  # its positions are not counted yet
        await execute(
            database,
            "INSERT INTO business_dates VALUES ('CAL', '2024-01-29'), ('CAL', '2024-01-30')",
        )
        while (await got(web, "/reprocessing"))["triggers_queued"]:
            await valued.loop.run_once()
        told = await got(web, "/reprocessing")
        due = await fetch(
            database,
            """SELECT count(*) FROM position_state p CROSS JOIN business_dates b
               WHERE p.pending @> b.business_date OR b.business_date > p.frontier_date""",
        )
        assert (told["remaining_position_days"],) == due[0]
        if told["remaining_position_days"]:
            assert (
                told["estimated_seconds"]
                == told["remaining_position_days"] / told["rows_per_second"]
                > 0
            )
        await execute(
            database, "UPDATE scheduler_term SET heartbeat_at = heartbeat_at - interval '1 hour'"
        )
        await execute(
            database,
            "UPDATE position_state SET pending = '{[2024-01-02,2024-01-04)}', staged_epoch = epoch",
        )
        told = await got(web, "/reprocessing")
        assert told["remaining_position_days"] >= 8
        assert told["estimated_seconds"] is None  # no scheduler is running
