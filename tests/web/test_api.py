"""Every endpoint on a real database: its numbers are those of the reference valuation."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import httpx
import polars as pl
import pytest

from revalue.console.reference.reference import ExpectedRow, expected_rows, read_book
from revalue.console.web.app import create_app
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.parsing import MAX_ID_CHARACTERS
from revalue.engine.correct.loads.load import load
from revalue.engine.fan_out import fan_out
from revalue.engine.postgres.database import Database
from tests.support import DAYS, Engine, execute, facts, open_days, prices

JSON = dict[str, object]


@asynccontextmanager
async def client(url: str, **options: float) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(url, **options)  # type: ignore[arg-type]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as opened,
    ):
        yield opened


@pytest.fixture
async def web(url: str, valued: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as opened:
        yield opened


async def reference(database: Database) -> dict[tuple[object, ...], ExpectedRow]:
    async with database.connection() as connection:
        book = await read_book(connection)
    return {row[:3]: row for row in expected_rows(book) if isinstance(row, ExpectedRow)}


async def got(
    web: httpx.AsyncClient, path: str, status: int = 200, **query: object
) -> dict[str, list[dict[str, object]]]:
    answer = await web.get(
        path, params={name.rstrip("_"): str(value) for name, value in query.items()} or None
    )
    assert answer.status_code == status, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def test_lines_totals_and_history_are_those_of_the_reference_valuation(
    web: httpx.AsyncClient, database: Database
) -> None:
    want = await reference(database)
    lines = (await got(web, "/portfolios/P2/positions", as_of=DAYS[7]))["items"]
    assert [line["security_id"] for line in lines] == ["A", "B"]
    for line in lines:
        row = want["P2", line["security_id"], DAYS[7]]
        for name in ("quantity", "price", "fx_rate", "market_value", "unrealized_gain"):
            assert Decimal(str(line[name])) == getattr(row, name), name
    totals = (await got(web, "/portfolios/P2/valuation", from_=DAYS[0], to=DAYS[-1]))["items"]
    assert [each["date"] for each in totals] == [day.isoformat() for day in DAYS]
    for day, each in zip(DAYS, totals, strict=True):
        assert Decimal(str(each["market_value"])) == sum(
            want["P2", security, day].market_value for security in "AB"
        )
        assert (each["lines"], each["lines_valued"], each["lines_missing"]) == (2, 2, 0)
    history = (await got(web, "/positions/P1/A/history"))["items"]
    assert [Decimal(str(each["market_value"])) for each in history] == [
        want["P1", "A", day].market_value for day in DAYS
    ]
    weekend = (await got(web, "/portfolios/P2/positions", as_of="2024-01-07"))["items"]
    assert {line["date"] for line in weekend} == {"2024-01-05"}


async def test_a_position_being_reprocessed_shows_its_published_version_and_says_so(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    before = await reference(database)
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    day = {"as_of": DAYS[7]}
    for _ in ("queued", "fanned out"):
        answer = await got(web, "/portfolios/P1/positions", **day)
        assert (
            answer["reprocessing_status"],
            answer["positions_reprocessing"],
            answer["positions"],
        ) == ("IN_PROGRESS", 1, 2)
        line = answer["items"][0]
        assert line["reprocessing_status"] == "IN_PROGRESS"
        assert Decimal(str(line["market_value"])) == before["P1", "A", DAYS[7]].market_value
        total = (await got(web, "/portfolios/P1/valuation", from_=DAYS[7], to=DAYS[7]))["items"][0]
        assert total["lines_reprocessing"] == 1
        [in_progress] = (await got(web, "/reprocessing"))["items"]
        assert (in_progress["first_date"], in_progress["last_date"]) == (
            DAYS[7].isoformat(),
            DAYS[7].isoformat(),
        )
        assert in_progress["progress"] == (None if in_progress["fanned_out_at"] is None else 0)
        await valued.loop.run_once()
    await valued.settle()
    after = await reference(database)
    answer = await got(web, "/portfolios/P1/positions", **day)
    assert answer["reprocessing_status"] == "CURRENT"
    assert (
        Decimal(str(answer["items"][0]["market_value"])) == after["P1", "A", DAYS[7]].market_value
    )
    assert (await got(web, "/reprocessing"))["items"] == []


async def test_corrections_that_were_fanned_out_together_share_their_progress(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    """Each position was invalidated once, for both; both have the progress of the positions."""
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await corrections.rate(database, "EUR", "USD", DAYS[7], Decimal("1.5"))
    queued = (await got(web, "/reprocessing"))["items"]
    assert [(each["together"], each["progress"]) for each in queued] == [(1, None)] * 2
    await fan_out.fan_out(valued.term)
    both = (await got(web, "/reprocessing"))["items"]
    assert [each["kind"] for each in both] == ["PRICE", "FX"]
    progress = [
        (each["together"], each["positions_invalidated"], each["positions_left"], each["progress"])
        for each in both
    ]
    assert (
        progress == [(2, 3, 3, 0)] * 2
    )  # A in P1 by its price; A and B in P2, which is in EUR, by the rate
    await corrections.position(database, "P1", "B", DAYS[9], Decimal(5), Decimal(1), Decimal(1))
    *both, position = (await got(web, "/reprocessing"))["items"]
    assert [each["positions_left"] for each in both] == [3, 3]
    assert (position["portfolio_id"], position["security_id"], position["together"]) == (
        "P1",
        "B",
        1,
    )


async def test_changes_lists_every_number_with_its_cause(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    first = await reference(database)
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await valued.settle()
    second = await reference(database)
    await corrections.rate(database, "EUR", "USD", DAYS[7], Decimal("1.5"))
    await valued.settle()
    third = await reference(database)
    items = (await got(web, "/positions/P2/A/changes", date=DAYS[7]))["items"]
    assert [item["cause"] for item in items] == [None, "PRICE", "FX"]
    position = ("P2", "A", DAYS[7])
    assert [Decimal(str(i["market_value"])) for i in items] == [
        book[position].market_value for book in (first, second, third)
    ]
    assert items[1]["changed"] == {"price": ["107.250000000000000000", "31.500000000000000000"]}
    assert list(items[2]["changed"]) == ["fx_rate"]  # type: ignore[call-overload]
    assert [item["is_shown"] for item in items] == [False, False, True]


async def test_a_date_that_a_correction_closed_has_the_numbers_it_had(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    want = (await reference(database))["P1", "A", DAYS[7]]
    await corrections.position(database, "P1", "A", DAYS[5], Decimal(0), Decimal(0), Decimal(0))
    for is_shown in (True, False):
        [item] = (await got(web, "/positions/P1/A/changes", date=DAYS[7]))["items"]
        assert (item["is_shown"], item["was_closed"]) == (is_shown, not is_shown)
        assert Decimal(str(item["market_value"])) == want.market_value
        await valued.settle()
    closed_at = item["superseded_at"]
    await corrections.position(database, "P1", "A", DAYS[6], Decimal(5), Decimal(50), Decimal(50))
    await valued.settle()
    again = (await got(web, "/positions/P1/A/changes", date=DAYS[7]))["items"]
    assert [(i["is_shown"], i["was_closed"], i["cause"]) for i in again] == [
        (False, True, None),
        (True, False, "POSITION"),
    ]
    assert str(again[0]["superseded_at"]) == closed_at
    assert str(again[0]["superseded_at"]) < str(again[1]["published_at"])
    assert set(again[1]["changed"]) == {"quantity", "cost_basis_local", "cost_basis"}
    assert (
        Decimal(str(again[1]["market_value"]))
        == (await reference(database))["P1", "A", DAYS[7]].market_value
    )


async def test_a_change_says_from_when_to_when_it_was_shown(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    for new in ("31.5", "33.5"):
        await corrections.price(database, "A", DAYS[7], Decimal(new))
        await valued.settle()
    items = (await got(web, "/positions/P2/A/changes", date=DAYS[7]))["items"]
    assert [item["superseded_at"] for item in items] == [
        *(item["published_at"] for item in items[1:]),
        None,
    ]
    for item in items:
        answer = await got(
            web, "/positions/P2/A/history", known_at=item["published_at"], from_=DAYS[7], to=DAYS[7]
        )
        assert answer["items"][0]["market_value"] == item["market_value"]


async def test_a_total_names_the_lines_it_lacks(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    await execute(database, "DELETE FROM market_prices WHERE security_id = 'A'")
    await open_days(database, [date(2024, 1, 29)])
    await valued.settle()
    total = (await got(web, "/portfolios/P1/valuation", from_="2024-01-29", to="2024-01-29"))[
        "items"
    ][0]
    want = await reference(database)
    assert (
        total["lines"],
        total["lines_valued"],
        total["lines_waiting"],
        total["without_value"],
    ) == (2, 1, 1, ["A"])
    assert (
        Decimal(str(total["market_value"]))
        == want["P1", "B", DAYS[-1].replace(day=29)].market_value
    )
    stuck = (await got(web, "/positions/stuck"))["items"]
    assert {(s["portfolio_id"], s["security_id"], s["state"]) for s in stuck} == {
        (portfolio, "A", "WAITING_FOR_DATA") for portfolio in ("P1", "P2")
    }


async def test_pages_join_to_the_whole(web: httpx.AsyncClient) -> None:
    lines, after = [], ""
    while after is not None:
        page = await got(web, "/portfolios/P1/positions", as_of=DAYS[3], after=after, limit=1)
        lines += [line["security_id"] for line in page["items"]]
        after = page["next"]  # type: ignore[assignment]
    assert lines == ["A", "B"]
    jobs, before = [], str(2**63 - 1)
    while before is not None:
        page = await got(web, "/jobs", before=before, limit=1)
        jobs += [job["job_id"] for job in page["items"]]
        before = page["next"]  # type: ignore[assignment]
    assert len(jobs) == 4
    assert jobs == sorted(jobs, reverse=True)
    [first, *_] = jobs
    page = await got(web, "/jobs", limit=1)
    assert str(page["next"]).startswith(f"{first}.")
    assert (await got(web, "/jobs", before=first))["items"] == []


async def test_portfolios_are_found_by_a_part_of_their_ids_in_any_case(
    web: httpx.AsyncClient, database: Database
) -> None:
    names = ["100% a_b", "Ärger", "GROWTH", "growth #2?", "x/growth"]
    await execute(
        database,
        "INSERT INTO portfolios (portfolio_id, base_currency, calendar_id) "
        "SELECT unnest($1::text[]), 'EUR', 'CAL'",
        names,
    )
    for search, found in (
        ("GroWth", names[2:]),
        ("0%", names[:1]),
        ("_", names[:1]),
        ("äRG", names[1:2]),
        ("nothing", []),
        ("", [*names, "P1", "P2"]),
    ):
        items: list[object] = []
        after: object = ""
        while after is not None:
            page = await got(web, "/portfolios", search=search, after=after, limit=2)
            items += [item["portfolio_id"] for item in page["items"]]
            after = page["next"]
        assert sorted(map(str, items)) == sorted(found), search
        assert len(items) == len(set(items))


async def test_pages_go_on_behind_the_longest_id(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    longest = "Ä" * MAX_ID_CHARACTERS
    instrument = {"security_id": [longest], "currency": ["USD"], "max_price_age_sessions": [3]}
    await load(database, Kind.INSTRUMENTS, pl.DataFrame(instrument))
    await load(database, Kind.PRICES, prices(longest, {DAYS[0]: "7"}))
    await load(database, Kind.POSITIONS, facts("P1", longest, {DAYS[0]: "2"}))
    await valued.settle()
    page = await got(web, "/portfolios/P1/positions", as_of=DAYS[0], after="B", limit=1)
    assert [line["security_id"] for line in page["items"]] == [longest]
    rest = await got(web, "/portfolios/P1/positions", as_of=DAYS[0], after=longest, limit=1)
    assert rest["items"] == []
    [first, *_] = (await got(web, f"/positions/P1/{longest}/history"))["items"]
    assert Decimal(str(first["market_value"])) == 14


async def test_the_same_rows_in_every_media_type_and_an_etag(web: httpx.AsyncClient) -> None:
    path = f"/portfolios/P1/positions?as_of={DAYS[3]}"
    rows = (await web.get(path)).json()["items"]
    values = [row["market_value"] for row in rows]
    for kind, read in (
        (
            "text/csv",
            lambda body: [
                row["market_value"] for row in csv.DictReader(io.StringIO(body.decode()))
            ],
        ),
        (
            "application/vnd.apache.parquet",
            lambda body: [f"{each:f}" for each in pl.read_parquet(body)["market_value"]],
        ),
        (
            "application/vnd.apache.arrow.stream",
            lambda body: [f"{each:f}" for each in pl.read_ipc_stream(body)["market_value"]],
        ),
    ):
        answer = await web.get(path, headers={"accept": kind})
        assert answer.headers["content-type"].startswith(kind)
        assert read(answer.content) == values
        again = await web.get(
            path, headers={"accept": kind, "if-none-match": answer.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
    assert (await web.get(path, headers={"accept": "image/png"})).status_code == 406


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/portfolios/P9/positions?as_of=2024-01-01", 404, "no portfolio 'P9'"),
        ("/positions/P1/Z/history", 404, "never held"),
        ("/portfolios/P1/positions?as_of=x", 422, "as_of"),
        ("/portfolios/P1/positions", 422, "as_of"),
        ("/portfolios/P1/valuation?from=2024-02-01&to=2024-01-01", 422, "is after"),
        ("/positions/P1/A/history?from=2024-02-01&to=2024-01-01", 422, "is after"),
        ("/docs", 404, "Not Found"),
        ("/jobs?status=LOST", 422, "SUPERSEDED"),
        ("/jobs?portfolio=P1", 422, "unknown parameter portfolio"),
        ("/jobs?limit=0", 422, "limit"),
        ("/jobs?before=-1", 422, "before"),
        ("/jobs?before=4711.5", 422, "before"),
        ("/jobs?before=4711.5.2024-02-30", 422, "is not the `next` of a page of jobs"),
        ("/jobs?before=9999999999999999999", 422, "has a number that no job"),
        ("/portfolios/%00/positions?as_of=2024-01-01", 422, "NUL"),
        ("/nowhere", 404, "Not Found"),
    ],
)
async def test_a_wrong_call_is_a_problem(
    web: httpx.AsyncClient, path: str, status: int, detail: str
) -> None:
    answer = await web.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert detail in answer.json()["detail"]


async def test_explanation_dead_letters_and_health(web: httpx.AsyncClient) -> None:
    explanation = await got(web, "/positions/P1/A/explain", date=DAYS[3])
    assert explanation["verdict"] == "AGREES"
    assert (await got(web, "/dead-letters"))["items"] == []
    assert (await got(web, "/health/live")) == (await got(web, "/health/ready")) == {"status": "ok"}


async def test_a_statement_that_takes_too_long_is_cancelled(
    url: str, valued: Engine, database: Database
) -> None:
    async with client(url, timeout_seconds=0.05) as web, database.transaction() as blocking:
        await blocking.execute("LOCK TABLE position_state IN ACCESS EXCLUSIVE MODE")
        for path in (
            f"/portfolios/P1/positions?as_of={DAYS[3]}",
            f"/positions/P1/A/explain?date={DAYS[3]}",
            "/reprocessing",
        ):
            answer = await web.get(path)
            assert (answer.status_code, answer.json()["title"]) == (
                503,
                "StatementCancelledError",
            ), path


async def test_rows_of_an_epoch_that_is_not_published_are_not_shown(
    web: httpx.AsyncClient, database: Database
) -> None:
    asked = {
        "/portfolios/P1/positions": {"as_of": DAYS[3]},
        "/portfolios/P1/valuation": {"from": DAYS[3], "to": DAYS[3]},
        "/positions/P1/A/history": {},
        "/positions/P1/A/changes": {"date": DAYS[3]},
    }
    before = {path: (await got(web, path, **query))["items"] for path, query in asked.items()}
    await execute(database, "UPDATE position_state SET epoch = epoch + 1")
    await execute(
        database,
        """INSERT INTO daily_position_snapshots
           SELECT (jsonb_populate_record(s, '{"epoch": 1, "market_value": 1}')).*
           FROM daily_position_snapshots s""",
    )
    for path, query in asked.items():
        after = (await got(web, path, **query))["items"]
        for shown in (*before[path], *after):
            shown.pop("reprocessing_status", None), shown.pop("lines_reprocessing", None)
            shown.pop("state", None), shown.pop("reprocessing_since", None)
        assert after == before[path], path


async def test_a_page_of_another_site_cannot_read(url: str, valued: Engine) -> None:
    """A host name that another site points at 127.0.0.1 is refused (DNS rebinding)."""
    async with client(url) as web:
        answer = await web.get("/health/live", headers={"host": "attacker.example"})
        assert (answer.status_code, answer.headers["content-type"]) == (
            400,
            "application/problem+json",
        )
        assert "localhost" in answer.json()["detail"]


async def test_a_database_that_takes_no_connections_is_unavailable(
    url: str, valued: Engine, database: Database, server_url: str
) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    async with client(url) as web, await Database.open(server_url) as server:
        await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        terminate = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = $1 AND application_name = 'revalue serve'"
        )
        await execute(server, terminate, name)
        for path in (f"/portfolios/P1/positions?as_of={DAYS[3]}", "/reprocessing"):
            answer = await web.get(path)
            assert (answer.status_code, answer.json()["title"]) == (
                503,
                "DatabaseUnavailableError",
            ), path
        assert (await web.get("/health/live")).status_code == 200
        await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
