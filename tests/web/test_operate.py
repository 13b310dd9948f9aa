"""Requests that operate: previews of corrections, the retry of a job, and the estimated time."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import polars as pl
import pytest

from revalue.console.web import corrections as web_corrections
from revalue.console.web import previews as web_previews
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.corrections.files import correct_file
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from revalue.engine.preview import preview as preview_module
from revalue.engine.settings import Settings
from tests.support import DAYS, Engine, execute, fetch, open_days, prices, until
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
DELETED = [
    {"kind": "delete_price", "security_id": "B", "date": DAYS[12].isoformat()},
    {
        "kind": "delete_rate",
        "base_currency": "EUR",
        "quote_currency": "USD",
        "date": DAYS[15].isoformat(),
    },
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
        "/corrections:preview", json=[PRICE, OTHERS[0], RATE, CLOSE, *OTHERS[1:], *DELETED]
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert await everything(database) == stored
    assert [each["what"].split()[0] for each in told["correction"]] == [
        *("price", "position", "rate", "position", "position", "position", "price", "rate")
    ]
    assert [each["new"] for each in told["correction"][-2:]] == [None, None]
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
    await corrections.delete_price(database, "B", DAYS[12])
    await corrections.delete_rate(database, "EUR", "USD", DAYS[15])
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
    await correct_file(database, frame)
    await valued.settle()
    after = await values(database)
    for line in told["portfolios"]:
        position = (line["portfolio_id"], line["date"])
        assert Decimal(line["change"]) == after[position] - before[position] != 0
    assert {line["portfolio_id"] for line in told["portfolios"]} == {"P1", "P2"}


async def test_a_date_in_the_future_is_told_in_each_response(
    web: httpx.AsyncClient, database: Database
) -> None:
    far = date(2099, 3, 4)
    frame = prices("A", {far: "7", DAYS[3]: "8"})
    await load(database, "prices", frame)
    answer = await web.post(
        "/corrections:preview-file",
        content=frame.write_csv().encode(),
        headers={"content-type": "text/csv"},
    )
    [told] = answer.json()["correction"]["warnings"]
    assert "the body: price_date is later than " in told
    assert f"(line 2: A {far})" in told
    price = {**PRICE, "date": f"{far}"}
    asked = [PRICE, price, {**CLOSE, "date": f"{far}"}, {**DELETED[0], "date": f"{DAYS[12]}"}]
    previewed = (await web.post("/corrections:preview", json=asked)).json()["correction"]
    answer = await web.post(
        "/corrections",
        json={"corrections": asked, "why": "a test"},
        headers={"Idempotency-Key": "k"},
    )
    made = answer.json()["corrections"]
    assert [each["warnings"] for each in made] == [each["warnings"] for each in previewed]
    of_dates = [[text for text in each["warnings"] if "_date" in text] for each in made]
    assert [[text.split(" is later than ")[0] for text in each] for each in of_dates] == [
        [],
        [f"price_date {far}"],
        [f"position_date {far}"],
        [],
    ]
    split = {"security_id": "A", "date": f"{far}", "ratio": "2:1"}
    previewed = (await web.post("/splits:preview", json=split)).json()["correction"]
    assert previewed["warnings"][0].startswith(f"position_date {far} is later than ")


async def test_a_wrong_file_is_a_problem(web: httpx.AsyncClient) -> None:
    good = b"security_id,price_date,price,currency,quote_basis\nA,2024-01-02,%b,USD,PER_UNIT\n"
    far = io.BytesIO()  # the last day that a Parquet file can hold, in the year 5,881,580
    last_day = pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date)
    prices("A", {DAYS[2]: "7"}).with_columns(price_date=last_day).write_parquet(far)
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
        (
            far.getvalue(),
            "application/vnd.apache.parquet",
            422,
            "row 1: 2,147,483,647 days after 1970-01-01",
        ),
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
        assert answer.headers["x-correlation-id"]


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


@asynccontextmanager
async def a_writer(database: Database) -> AsyncIterator[None]:
    """Holds the price that PRICE corrects, until the block ends."""
    async with database.transaction() as blocking:
        await blocking.execute("UPDATE market_prices SET price = price WHERE security_id = 'A'")
        yield


async def until_locked(database: Database) -> None:
    """Wait until a preview waits for another transaction."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'revalue preview' AND wait_event_type = 'Lock'"
    )

    async def waiting() -> bool:
        return bool((await fetch(database, waits))[0][0])

    await until(waiting)


async def test_a_preview_gives_way(url: str, database: Database, valued: Engine) -> None:
    async with client(url) as web, a_writer(database):
        answer = await web.post("/corrections:preview", json=PRICE)
        assert (answer.status_code, answer.json()["title"]) == (503, "WriteConflictError")
    short = Settings(preview_seconds=0.05)
    async with client(url, settings=short) as web, a_writer(database):
        answer = await web.post("/corrections:preview", json=PRICE)
        assert (answer.status_code, answer.json()["title"]) == (503, "StatementCancelledError")


async def test_one_preview_runs_a_few_wait_and_the_next_one_is_refused(
    url: str, database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = held_previews(monkeypatch)
    async with client(url, preview_queue=1, preview_wait_seconds=0) as web:
        first = await web.post("/corrections:preview", json=PRICE)
        await asyncio.wait_for(running.wait(), 30)
        second = await web.post("/corrections:preview", json=RATE)
        third = await web.post("/corrections:preview", json=PRICE)
        assert [each.status_code for each in (first, second, third)] == [202, 202, 429]
        assert third.headers["retry-after"] == "1"
        assert third.json()["detail"] == "a preview is running, and 1 others wait for it"
        go_on.set()
        told = [await finished(web, each.headers["location"]) for each in (first, second)]
        assert [each["result"]["correction"][0]["what"][:5] for each in told] == ["price", "rate "]
        assert (await web.post("/corrections:preview", json=PRICE)).status_code == 202
    async with client(url, preview_wait_seconds=30) as web:
        answers = await asyncio.gather(
            *(web.post("/corrections:preview", json=PRICE) for _ in range(6))
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200, 200, 200, 200, 200, 429]


async def test_requests_do_not_wait_for_the_previews_of_their_client(
    url: str, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = held_previews(monkeypatch)
    async with client(url, preview_wait_seconds=30) as web:
        calls = [
            asyncio.create_task(web.post("/corrections:preview", json=PRICE)) for _ in range(4)
        ]
        await asyncio.wait_for(running.wait(), 30)
        assert (await asyncio.wait_for(web.get("/jobs"), 10)).status_code == 200
        go_on.set()
        assert {each.status_code for each in await asyncio.gather(*calls)} == {200}


def held_previews(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Stop previews that are planned; return: one has stopped, and let them go on."""
    running, go_on = asyncio.Event(), asyncio.Event()
    real = preview_module._add

    async def held(*given: Any) -> None:
        running.set()
        await asyncio.wait_for(go_on.wait(), 30)
        await real(*given)

    monkeypatch.setattr(preview_module, "_add", held)
    return running, go_on


async def test_a_preview_that_takes_longer_goes_on_in_the_background(
    url: str, database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(url) as web:
        at_once = (await web.post("/corrections:preview", json=RATE)).json()
    running, go_on = held_previews(monkeypatch)
    async with client(url, preview_wait_seconds=0) as web:
        answer = await web.post("/corrections:preview", json=RATE)
        assert answer.status_code == 202, answer.text
        other = await web.post("/corrections:preview", json=PRICE)
        where = answer.headers["location"]
        assert (where, answer.headers["retry-after"]) == (
            f"/previews/{answer.json()['preview_id']}",
            "1",
        )
        await asyncio.wait_for(running.wait(), 30)
        told: Any = await got(web, where)
        assert (told["state"], told["position_days_valued"], told["position_days"]) == (
            "RUNNING",
            0,
            at_once["position_days"],
        )
        assert (told["result"], told["problem"], told["expires_at"]) == (None, None, None)
        waits: Any = await got(web, other.headers["location"])
        assert (waits["state"], waits["position_days"]) == ("QUEUED", None)
        go_on.set()
        told = await finished(web, where)
        assert (told["state"], told["position_days_valued"], told["problem"]) == (
            "COMPLETE",
            at_once["position_days"],
            None,
        )
        assert told["result"] == at_once
        assert datetime.fromisoformat(told["expires_at"]) > datetime.now(UTC)
        assert (await finished(web, other.headers["location"]))["state"] == "COMPLETE"
        assert (await web.delete(where)).json()["result"] == at_once
        for method in ("GET", "DELETE"):
            assert (await web.request(method, where)).status_code == 404


async def finished(web: httpx.AsyncClient, where: str) -> Any:
    """The preview, when it is finished."""
    told: Any = None

    async def over() -> bool:
        nonlocal told
        told = await got(web, where)
        return told["state"] not in ("QUEUED", "RUNNING")

    await until(over)
    return told


async def test_a_preview_in_the_background_that_fails_says_why(
    url: str, database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(url, preview_wait_seconds=0) as web:
        for body, status, title in (
            ({**PRICE, "security_id": "Z"}, 404, "NotFoundError"),
            ({**PRICE, "price": "-1"}, 422, "InvalidInputError"),
        ):
            answer = await web.post("/corrections:preview", json=body)
            told = await finished(web, answer.headers["location"])
            assert (told["state"], told["result"]) == ("FAILED", None)
            assert (told["problem"]["status"], told["problem"]["title"]) == (status, title)
            assert told["problem"]["type"] == f"urn:revalue:{title}"

        async def fault(*given: Any) -> None:
            raise ZeroDivisionError("a secret")

        monkeypatch.setattr(preview_module, "_add", fault)
        answer = await web.post("/corrections:preview", json=PRICE)
        told = await finished(web, answer.headers["location"])
        assert told["problem"]["status"] == 500
        assert "secret" not in told["problem"]["detail"]


async def test_a_preview_can_be_cancelled_and_its_result_expires(
    url: str, database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = held_previews(monkeypatch)
    async with client(url, preview_wait_seconds=0, preview_keep_seconds=0.05) as web:
        first, second, third = [
            (await web.post("/corrections:preview", json=body)).headers["location"]
            for body in (PRICE, RATE, CLOSE)
        ]
        await asyncio.wait_for(running.wait(), 30)
        for where in (second, first):  # one waits, the other runs
            answer = await web.delete(where)
            assert (answer.status_code, answer.json()["state"]) == (200, "CANCELLED")
            assert (await web.get(where)).status_code == 404
        go_on.set()

        async def expired() -> bool:
            return (await web.get(third)).status_code == 404

        await until(expired)
        idle = """SELECT count(*) FROM pg_stat_activity
                  WHERE state LIKE 'idle in transaction%' AND datname = current_database()"""

        async def ended() -> bool:
            return await fetch(database, idle) == [(0,)]

        await until(ended)
    async with client(url, preview_wait_seconds=0) as web:
        go_on.clear()
        await web.post("/corrections:preview", json=PRICE)
    # The server has stopped while it ran.
    await until(ended)


async def test_a_file_that_is_small_only_while_it_is_packed_is_refused(
    web: httpx.AsyncClient,
) -> None:
    rows = prices("A", {DAYS[2]: "7"})
    many, cell = io.BytesIO(), io.BytesIO()
    rows[[0] * 1_000_001].write_parquet(many)
    rows.with_columns(security_id=pl.lit("A" * 201_000_000)).write_parquet(cell)
    packed = gzip.compress(rows.write_csv().encode())
    for content, kind, detail in (
        (many.getvalue(), "application/vnd.apache.parquet", "1,000,001 rows, of 1,000,000 at most"),
        (cell.getvalue(), "application/vnd.apache.parquet", "bytes uncompressed, of 200,000,000"),
        (b"," * 1_000 + b"\n", "text/csv", "1,001 columns, of 100 at most"),
        (b"a\n" * 1_000_002, "text/csv", "1,000,002 lines, of 1,000,001 at most"),
        (packed, "text/csv", "it is compressed, and not CSV"),
    ):
        assert len(content) < 8_000_000
        answer = await web.post(
            "/corrections:preview-file", content=content, headers={"content-type": kind}
        )
        assert (answer.status_code, answer.json()["title"]) == (422, "InvalidInputError")
        assert detail in answer.json()["detail"]


async def test_a_panic_of_a_library_is_an_error_like_every_other(
    url: str, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no Exception, so that most code lets it pass."""

    def panic(*_: object, **__: object) -> None:
        raise pl.exceptions.PanicException("called unwrap on nothing")

    monkeypatch.setattr(web_corrections, "from_csv", panic)
    csv = {"content": b"a", "headers": {"content-type": "text/csv"}}
    async with client(url) as web:
        answer = await web.post("/corrections:preview-file", **csv)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
        assert answer.headers["x-correlation-id"] in answer.json()["detail"]
    async with client(url, preview_wait_seconds=0) as web:
        answer = await web.post("/corrections:preview-file", **csv)  # type: ignore[arg-type]
        told = await finished(web, answer.headers["location"])
        assert (told["state"], told["problem"]["status"]) == ("FAILED", 500)


async def test_a_preview_of_too_many_position_days_is_refused(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_previews, "MAX_POSITION_DAYS", 1)
    answer = await web.post("/corrections:preview", json=RATE)
    assert (answer.status_code, answer.json()["title"]) == (422, "PreviewTooLargeError")
    assert "position-days, of 1 at most" in answer.json()["detail"]


async def test_a_failed_job_is_requeued(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date >= $1", DAYS[4]
    )
    await valued.settle()
    waiting = (await got(web, "/jobs?status=WAITING_FOR_DATA"))["items"]
    job = waiting[0]["job_id"]
    again = (await web.post(f"/jobs/{job}:retry")).json()
    assert again == {"job_id": job, "status": "SUPERSEDED"}
    assert await fetch(
        database, "SELECT lower(pending), isempty(holes) FROM position_state WHERE epoch = 2"
    ) == [(DAYS[7], True)]
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
        await open_days(database, [date(2024, 1, 29), date(2024, 1, 30)])
        async with asyncio.timeout(30):
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


async def test_days_are_opened_and_closed_again(web: httpx.AsyncClient) -> None:
    last = {"date": DAYS[-1].isoformat()}
    [again] = (await web.post("/calendars:open", json=last)).json()["items"]
    assert (again["calendar_id"], again["business_days"]) == ("CAL", 0)
    earlier = {"date": DAYS[-3].isoformat(), "calendar_id": "CAL"}
    assert (await web.post("/calendars:open", json=earlier)).status_code == 409
    [moved] = (await web.post("/calendars:open", json={**earlier, "back": True})).json()["items"]
    assert (moved["opened_through"], moved["business_days"]) == (DAYS[-3].isoformat(), -2)
    for wrong, status in (
        ({"calendar_id": "NONE"}, 404),
        ({"calendar_id": "C\0L"}, 422),
        ({"date": "2024-01-06", "back": True}, 422),
    ):
        answer = await web.post("/calendars:open", json={**earlier, **wrong})
        assert answer.status_code == status, answer.text
