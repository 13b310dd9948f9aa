"""docs/team.md: two people at once, a certificate, and another name, walked through."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from revalue.engine.read.report import Wanted
from revalue.engine.settings import Settings
from tests.conftest import small_book
from tests.docs.test_pages import ROOT, ran
from tests.integration.test_cli import run
from tests.support import DAYS, fetch, prices
from tests.web.served import connect, get, read_all, served, status_of

PAGE = (ROOT / "docs/team.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
async def valued(server_url: str, template: str) -> AsyncIterator[str]:
    """Portfolios P1 and P2 hold A and B."""
    async with small_book(server_url, template, 2) as address:
        yield address


async def numbers(url: str, portfolio: str) -> list[tuple[Any, ...]]:
    """The numbers of a portfolio by date and security, where something is held."""
    wanted = Wanted(first_date=DAYS[0], last_date=DAYS[-1], portfolios=(portfolio,))
    async with await Database.open(url) as database:
        rows = [
            row
            async for frame in report.positions(database, wanted)
            for row in frame.select(
                "date", "security_id", "quantity", "market_value", "unrealized_gain"
            ).rows()
        ]
    return sorted(row for row in rows if row[2])


@pytest.mark.slow
async def test_another_name_has_the_numbers_of_the_old_one(valued: str, tmp_path: Path) -> None:
    before = await numbers(valued, "P1")
    assert len(before) == 2 * len(DAYS)
    script = "\n".join(block for block in BLOCKS if "psql" in block)
    script = script.replace("GROWTH", "P1").replace("ACME", "A")
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = await asyncio.to_thread(ran, command, valued, tmp_path, BOOK=valued)
    assert done.returncode == 0, done.stdout + done.stderr
    renamed = [
        (day, {"A-NEW": "A"}.get(name, name), *of)
        for day, name, *of in (await numbers(valued, "P1-EU"))
    ]
    assert sorted(renamed) == before
    assert await numbers(valued, "P1") == []
    other = {name for _, name, *_ in await numbers(valued, "P2")}
    assert other == {"A-NEW", "B"}
    checked = json.loads(run(valued, "verify", "--all", "--json").stdout)
    assert checked["disagreements"] == 0
    listed = json.loads(run(valued, "loads", "--json").stdout)
    assert [each["source"] for each in listed[:2]] == ["holders.csv", "prices.csv"]


@pytest.mark.slow
async def test_two_loads_at_once_both_count_and_the_later_one_stands(
    valued: str, tmp_path: Path
) -> None:
    for name, price in (("one", "71"), ("two", "72")):
        prices("A", dict.fromkeys(DAYS, price)).write_csv(tmp_path / f"{name}.csv")
    done = await asyncio.gather(
        *(
            asyncio.to_thread(ran, ["revalue", "load", "prices", f"{name}.csv"], valued, tmp_path)
            for name in ("one", "two")
        )
    )
    assert [each.returncode for each in done] == [0, 0], done
    listed = json.loads(run(valued, "loads", "--json").stdout)
    assert {each["source"] for each in listed[:2]} == {"one.csv", "two.csv"}
    assert [each["changed"] for each in listed[:2]] == [len(DAYS)] * 2
    async with await Database.open(valued) as database:
        stored = await fetch(
            database, "SELECT DISTINCT price FROM market_prices WHERE security_id = 'A'"
        )
    assert stored == [(Decimal(71 if listed[0]["source"] == "one.csv" else 72),)]


@pytest.mark.slow
def test_the_certificate_of_the_page_serves(valued: str, tmp_path: Path) -> None:
    [block] = [block for block in BLOCKS if "openssl" in block]
    done = ran(["bash", "-euo", "pipefail", "-c", block], valued, tmp_path)
    assert done.returncode == 0, done.stderr
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    with served(valued, Settings(), certificate=certificate, key=key) as server:
        tls = ssl.create_default_context(cafile=str(certificate))
        with tls.wrap_socket(connect(server), server_hostname="localhost") as opened:
            opened.sendall(get("/health/live").encode())
            assert status_of(read_all(opened)) == 200
