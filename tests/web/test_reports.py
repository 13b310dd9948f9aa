"""Reports of all portfolios: their rows in every media type, their limits, and who may read."""

import io
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import polars as pl
import pytest

from revalue.console.web import reports
from revalue.console.web.schemas.reports import ReportedPosition, ReportedTotal
from revalue.engine.correct.corrections import corrections
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from tests.support import DAYS, Engine, execute
from tests.web.test_access import bearing
from tests.web.test_api import client, got, reference
from tests.web.test_responses import ARROW, PARQUET

POSITIONS, TOTALS = "/reports/positions", "/reports/totals"


@pytest.fixture
async def web(url: str, valued: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as opened:
        yield opened


async def items(web: httpx.AsyncClient, path: str, **query: object) -> list[dict[str, Any]]:
    return (await got(web, path, **query))["items"]


def test_what_is_described_are_the_columns_of_the_report() -> None:
    assert list(ReportedPosition.model_fields) == list(report.REPORT_COLUMNS)
    assert list(ReportedTotal.model_fields) == list(report.total_columns("portfolio"))


async def test_a_date_has_a_row_for_each_position_as_the_reference_valuation_has_it(
    web: httpx.AsyncClient, database: Database
) -> None:
    want = await reference(database)
    rows = await items(web, POSITIONS, date=DAYS[7])
    keys = [(row["portfolio_id"], row["security_id"]) for row in rows]
    assert keys == sorted(key[:2] for key in want if key[2] == DAYS[7])
    for row in rows:
        expected = want[row["portfolio_id"], row["security_id"], DAYS[7]]
        for name in ("quantity", "price", "fx_rate", "market_value", "unrealized_gain"):
            assert Decimal(row[name]) == getattr(expected, name), name
    last = await items(web, POSITIONS)
    assert {row["date"] for row in last} == {DAYS[-1].isoformat()}
    some = await items(web, POSITIONS, from_=DAYS[3], to=DAYS[5], portfolio="P1", security="A")
    assert [row["date"] for row in some] == [day.isoformat() for day in DAYS[3:6]]


async def test_every_media_type_has_the_same_rows(
    web: httpx.AsyncClient, database: Database
) -> None:
    """A position without a value too, with the reason."""
    await execute(database, "DELETE FROM market_prices WHERE security_id = 'B'")
    query = {"from": DAYS[3].isoformat(), "to": DAYS[4].isoformat()}

    async def rows(accept: str) -> pl.DataFrame:
        headers = {"accept": accept, "accept-encoding": "identity"}
        answer = await web.get(POSITIONS, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].split(";")[0] == accept
        assert int(answer.headers["content-length"]) == len(answer.content)
        if accept == ARROW:
            return pl.read_ipc_stream(io.BytesIO(answer.content))
        if accept == PARQUET:
            return pl.read_parquet(io.BytesIO(answer.content))
        if accept == "text/csv":
            text = pl.read_csv(io.BytesIO(answer.content), infer_schema=False)
        else:
            text = pl.DataFrame(answer.json()["items"], infer_schema_length=None).cast(pl.String)
        return text.select(
            pl.col(name).str.to_date() if kind == pl.Date else pl.col(name).cast(kind)
            for name, kind in report.REPORT_COLUMNS.items()
        )

    frames = [await rows(accept) for accept in (ARROW, PARQUET, "text/csv", "application/json")]
    assert frames[0].schema == pl.Schema(report.REPORT_COLUMNS)
    assert all(frame.equals(frames[0]) for frame in frames[1:])
    assert len(frames[0]) == 2 * 2 * 2


async def test_totals_count_what_has_no_value(web: httpx.AsyncClient, valued: Engine) -> None:
    await execute(valued.database, "DELETE FROM market_prices WHERE security_id = 'B'")
    await valued.settle()
    [first, second] = await items(web, TOTALS, date=DAYS[7])
    lines = await items(web, POSITIONS, date=DAYS[7])
    assert [first["portfolio_id"], second["portfolio_id"]] == ["P1", "P2"]
    for total in (first, second):
        valued_lines = [
            Decimal(line["market_value"])
            for line in lines
            if line["portfolio_id"] == total["portfolio_id"] and line["market_value"] is not None
        ]
        assert Decimal(total["market_value"]) == sum(valued_lines)
        assert (total["lines"], total["lines_valued"], total["lines_waiting"]) == (2, 1, 1)
    by_currency = await items(web, TOTALS, date=DAYS[7], by="currency")
    assert sum(each["lines"] for each in by_currency) == 4
    assert all("portfolio_id" not in each for each in by_currency)


async def test_a_report_is_of_a_time_and_its_etag_of_its_content(
    web: httpx.AsyncClient, valued: Engine
) -> None:
    before = await web.get(POSITIONS, params={"date": str(DAYS[7])})
    known = await web.get(f"/portfolios/P1/positions?as_of={DAYS[7]}")
    moment = known.headers["revalue-known-at"]
    same = await web.get(
        POSITIONS, params={"date": str(DAYS[7])}, headers={"if-none-match": before.headers["etag"]}
    )
    assert (same.status_code, same.content) == (304, b"")
    await corrections.price(valued.database, "A", DAYS[7], Decimal("1.25"))
    await valued.settle()
    after = await web.get(
        POSITIONS, params={"date": str(DAYS[7])}, headers={"if-none-match": before.headers["etag"]}
    )
    assert after.status_code == 200
    assert after.content != before.content
    then = await web.get(POSITIONS, params={"date": str(DAYS[7]), "known_at": moment})
    assert then.content == before.content


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"portfolio": "nobody"}, 404, "nobody"),
        ({"date": "2024-01-05", "from": "2024-01-05"}, 422, "not both"),
        ({"to": "2024-01-05"}, 422, "to needs from"),
        ({"from": "2024-01-05", "to": "2024-01-04"}, 422, "after"),
        ({"from": "1990-01-05", "to": "1990-01-06"}, 404, "revalue open"),
        ({"day": "2024-01-05"}, 422, "unknown parameter day"),
        ({"date": "yesterday"}, 422, "YYYY-MM-DD"),
        ({"date": "0"}, 422, "YYYY-MM-DD"),  # and not 1970-01-01
        ({"known_at": "2190-01-05T00:00:00Z"}, 400, "2190"),
    ],
)
async def test_what_cannot_be_answered_is_an_error(
    web: httpx.AsyncClient, query: dict[str, str], status: int, words: str
) -> None:
    for path in (POSITIONS, TOTALS):
        answer = await web.get(path, params=query)
        assert (answer.status_code, answer.headers["content-type"]) == (
            status,
            "application/problem+json",
        )
        assert words in answer.json()["detail"]


async def test_a_report_that_is_too_large_is_refused(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_ROWS", 7)
    assert len(await items(web, POSITIONS, date=DAYS[7])) == 4
    answer = await web.get(POSITIONS, params={"from": str(DAYS[3]), "to": str(DAYS[4])})
    assert answer.status_code == 422
    assert "more than 7 rows" in answer.json()["detail"]


async def test_a_folder_that_is_full_is_said(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0)
    monkeypatch.setattr(reports.tempfile, "TemporaryFile", lambda: full)
    answer = await web.get(POSITIONS, headers={"accept": "text/csv"})
    assert (answer.status_code, full.closed) == (503, True)
    assert "No space left" in answer.json()["detail"]


async def test_a_limited_token_gets_its_own_portfolios(
    url: str, valued: Engine, database: Database
) -> None:
    _, secret = await tokens.create(database, "desk", ["read"], portfolios=["P2"])
    async with client(url, require_token=True) as web:
        assert (await web.get(POSITIONS)).status_code == 401
        for path in (POSITIONS, TOTALS):
            answer = await web.get(path, headers=bearing(secret))
            assert {row["portfolio_id"] for row in answer.json()["items"]} == {"P2"}
            for asked in ("P1", "nobody"):
                other = await web.get(path, params={"portfolio": asked}, headers=bearing(secret))
                assert other.status_code == 403
            for security in ("held by others only", "B"):  # nobody learns which there are
                params = {"security": security, "portfolio": "P2"}
                held = await web.get(path, params=params, headers=bearing(secret))
                assert held.status_code == 200
