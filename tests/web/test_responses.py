"""Responses in the accepted media type, with the same columns on every page; limits of bodies."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from urllib.parse import unquote

import httpx
import polars as pl
import pytest

from revalue.console.web.arrow_schema import columns
from revalue.console.web.content_negotiation import choose_media_type
from revalue.console.web.schemas.portfolios import Positions
from revalue.engine.correct.corrections import corrections
from revalue.engine.fan_out import fan_out
from revalue.engine.postgres.database import Database
from tests.support import DAYS, Engine, execute, open_days
from tests.web.test_api import client, got

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
KINDS = ("application/json", "text/csv", ARROW, PARQUET)


@pytest.fixture
async def web(url: str, valued: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url, body_bytes=2_000) as opened:
        yield opened


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("application/json;q=0.2, text/csv;q=0.9", "text/csv"),
        ("text/csv, application/json", "text/csv"),
        ("application/json, text/csv", "application/json"),
        (f"text/csv;q=0.5, {PARQUET}", PARQUET),
        (f"application/*;q=0.5, {ARROW};q=0.6", ARROW),
        ("application/json;q=0, */*", "text/csv"),
        ("*/*;q=0.1, text/*", "text/csv"),
        ("TEXT/CSV; charset=utf-8; Q=1.000", "text/csv"),
        ("application/json;q=0.000", None),
        ("application/json;q=nonsense", None),
        ("application/json;q=nan", None),
        ("image/png", None),
    ],
)
def test_the_media_type_of_the_highest_quality_is_chosen(accept: str, kind: str | None) -> None:
    assert choose_media_type(accept, KINDS) == kind


async def test_decimals_and_dates_have_types_in_a_table(web: httpx.AsyncClient) -> None:
    paths = (
        f"/portfolios/P2/positions?as_of={DAYS[3]}",
        "/positions/P2/A/history",
        f"/positions/P2/A/changes?date={DAYS[3]}",
    )
    for path in paths:
        rows = (await web.get(path)).json()["items"]
        for kind, read in ((PARQUET, pl.read_parquet), (ARROW, pl.read_ipc_stream)):
            table = read(io.BytesIO((await web.get(path, headers={"accept": kind})).content))  # type: ignore[operator]
            assert table.columns == list(rows[0]), path
            types = dict(table.schema)
            assert (types["market_value"], types["fx_rate"]) == (
                pl.Decimal(38, 10),
                pl.Decimal(38, 18),
            )
            assert types["price_date"] == pl.Date
            assert {
                types[name] for name in ("valued_at", "reprocessing_since") if name in types
            } <= {pl.Datetime("us", time_zone="UTC")}
            for told, row in zip(table.iter_rows(named=True), rows, strict=True):
                assert (told["market_value"], told["price"]) == (
                    Decimal(row["market_value"]),
                    Decimal(row["price"]),
                )
                assert told["price_date"] == date.fromisoformat(row["price_date"])


async def test_a_page_without_rows_or_values_has_the_same_columns(
    web: httpx.AsyncClient, database: Database
) -> None:
    await open_days(database, [date(2024, 1, 29)])
    full, empty, null = (
        f"/portfolios/P1/positions?as_of={day}" for day in (DAYS[3], "2001-01-01", "2024-01-29")
    )
    told = {}
    for path in (full, empty, null):
        answer = await web.get(path, headers={"accept": PARQUET})
        told[path] = pl.read_parquet(io.BytesIO(answer.content))
        lines = (await web.get(path, headers={"accept": "text/csv"})).text.splitlines()
        assert lines[0].split(",") == told[full].columns == columns(Positions).names
    assert told[null]["market_value"].to_list() == [None, None]
    assert told[full].schema == told[empty].schema == told[null].schema
    assert (len(told[full]), len(told[empty]), len(told[null])) == (2, 0, 2)


async def test_lists_flags_and_nothing_in_csv(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await valued.settle()
    answer = await web.get(
        f"/positions/P1/A/changes?date={DAYS[7]}", headers={"accept": "text/csv"}
    )
    first, last = csv.DictReader(io.StringIO(answer.text))
    assert (first["is_shown"], last["is_shown"], first["cause"], last["cause"]) == (
        "false",
        "true",
        "",
        "PRICE",
    )
    assert (first["changed"], last["changed"]) == (
        "{}",
        '{"price": ["107.250000000000000000", "31.500000000000000000"]}',
    )
    answer = await web.get(f"/positions/P1/A/changes?date={DAYS[7]}", headers={"accept": PARQUET})
    assert pl.read_parquet(io.BytesIO(answer.content))["changed"].to_list() == [
        first["changed"],
        last["changed"],
    ]


async def test_a_cursor_beyond_latin_is_a_header_too(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    await execute(
        database,
        "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
        "VALUES ('株', 'USD', 3)",
    )
    await corrections.position(database, "P1", "株", DAYS[3], Decimal(1), Decimal(1), Decimal(1))
    path = f"/portfolios/P1/positions?as_of={DAYS[3]}&after=B&limit=1"
    assert (await got(web, path))["next"] == "株"
    assert (
        unquote((await web.get(path, headers={"accept": "text/csv"})).headers["revalue-next"])
        == "株"
    )


async def test_a_body_that_is_too_large_is_not_read(web: httpx.AsyncClient) -> None:
    for body in (b"x" * 2_001, _chunks()):
        answer = await web.post(
            "/corrections:preview", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.headers["content-type"]) == (
            413,
            "application/problem+json",
        )


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b" " * 1_000


async def test_a_position_being_reprocessed_says_since_when_in_every_response(
    web: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    """The time is the same while it is queued, while it is fanned out and, by known_at, later."""
    before = datetime.now(UTC)
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    told: set[str] = set()
    during = datetime.now(UTC)
    line, position = f"/portfolios/P1/positions?as_of={DAYS[7]}", "/positions/P1/A/history"
    for _ in ("queued", "fanned out"):
        a, b = (await got(web, line))["items"]
        assert b["reprocessing_since"] is None
        explained = await got(web, f"/positions/P1/A/explain?date={DAYS[7]}")
        [stuck, _] = (await got(web, "/positions/stuck"))["items"]
        told |= {
            str(a["reprocessing_since"]),
            str((await got(web, position))["reprocessing_since"]),
            str(stuck["since"]),
        }
        told |= {explained["position"]["reprocessing_since"]}  # type: ignore[call-overload]
        await fan_out.fan_out(valued.term)
        await corrections.price(
            database, "A", DAYS[8], Decimal("31.5")
        )  # a later one does not move it
    await valued.settle()
    [since] = told
    assert before < datetime.fromisoformat(since) < during
    assert (await got(web, position))["reprocessing_since"] is None
    for known_at, want in ((before, None), (during, since)):
        assert (await got(web, position, known_at=known_at.isoformat()))[
            "reprocessing_since"
        ] == want
        assert (
            await got(web, "/portfolios/P1/positions", as_of=DAYS[7], known_at=known_at.isoformat())
        )["items"][0]["reprocessing_since"] == want


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/corrections:preview",
            {"kind": "price", "security_id": "A", "date": 0, "price": "12"},
        ),
        ("/calendars:open", {"date": 1_704_067_200}),
        ("/calendars:open", {"date": "1704067200"}),
    ],
)
async def test_a_number_is_no_date(
    web: httpx.AsyncClient, path: str, body: dict[str, object]
) -> None:
    """Pydantic alone would take seconds since 1970 for one."""
    answer = await web.post(path, json=body)
    assert (answer.status_code, "YYYY-MM-DD" in answer.json()["detail"]) == (422, True)
