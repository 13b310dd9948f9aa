"""A portfolio of which nothing changed is answered without reading its lines, and only then."""

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from revalue.engine.correct.corrections import corrections
from revalue.engine.fan_out import fan_out
from revalue.engine.operate.status import list_failed_jobs, retry_jobs
from revalue.engine.postgres.database import Database
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.value import computation
from tests.support import DAYS, Engine, execute, has_dead_letters, open_days, settle_until
from tests.web.test_api import client

RANGE = f"from={DAYS[0]}&to={DAYS[-1]}"
PATHS = [
    f"/portfolios/{portfolio}/{what}"
    for portfolio in ("P1", "P2")
    for what in (f"positions?as_of={DAYS[-1]}", f"positions?as_of={DAYS[7]}", f"valuation?{RANGE}")
]


@pytest.fixture
async def web(url: str, valued: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as opened:
        yield opened


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the portfolios of which lines are read."""
    found: list[str] = []
    for name in ("positions", "totals"):
        real = getattr(ReaderQueries, name)

        async def counted(
            self: Any, portfolio: str, *given: Any, _real: Any = real, **by: Any
        ) -> Any:
            found.append(portfolio)
            return await _real(self, portfolio, *given, **by)

        monkeypatch.setattr(ReaderQueries, name, counted)
    return found


async def test_nothing_is_read_while_nothing_of_the_portfolio_changes(
    web: httpx.AsyncClient, database: Database, reads: list[str]
) -> None:
    known = {path: (await web.get(path)).headers["etag"] for path in PATHS}
    assert len(reads) == len(PATHS)
    assert len(set(known.values())) == len(PATHS)
    # A position of another portfolio changes.
    amounts = (Decimal(5), Decimal(10), Decimal(10))
    await corrections.position(database, "P2", "A", DAYS[7], *amounts)
    reads.clear()
    for path in PATHS:
        answer = await web.get(path, headers={"If-None-Match": known[path]})
        assert answer.status_code == (304 if "/P1/" in path else 200)
        assert answer.headers["revalue-known-at"]
    assert set(reads) == {"P2"}
    csv = await web.get(PATHS[0], headers={"If-None-Match": known[PATHS[0]], "Accept": "text/csv"})
    assert csv.status_code == 200, "another media type is another response"


async def test_a_response_is_never_unchanged_when_it_differs(
    web: httpx.AsyncClient, database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = (PATHS[0], PATHS[2], PATHS[5])
    seen: dict[str, dict[str, Any]] = {path: {} for path in paths}

    async def compare(step: str) -> None:
        for path in paths:
            now = await web.get(path)
            etags = seen[path]
            again = await web.get(path, headers={"If-None-Match": ", ".join(etags)})
            if again.status_code == 304:
                assert etags[again.headers["etag"]] == now.json(), f"{step}: {path}"
            assert etags.setdefault(now.headers["etag"], now.json()) == now.json(), step

    async def settled(step: str) -> None:
        await compare(f"{step}, queued")
        await fan_out.fan_out(valued.term)
        await compare(f"{step}, fanned out")
        await valued.settle()
        await compare(f"{step}, settled")

    await compare("before")
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await settled("a price")
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'B' AND price_date > $1", DAYS[3]
    )
    await settled("holes")
    with monkeypatch.context() as patched:

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        patched.setattr(computation, "value", broken)
        await open_days(database, [date(2024, 1, 29)])
        await compare("failures, queued")
        await settle_until(valued, lambda: has_dead_letters(database))
        await compare("failures, settled")
    failed = await list_failed_jobs(database)
    assert await retry_jobs(database, failed) == failed
    await settled("a retry")
    await corrections.position(database, "P1", "A", DAYS[4], Decimal(0), Decimal(0), Decimal(0))
    await settled("a closed position")
    await execute(database, "UPDATE calendars SET opened_through = $1", DAYS[-2])
    await settled("a day closed again")
    quiet = [etag for path in paths for etag in seen[path] if etag.startswith('W/"v-')]
    assert len(quiet) >= 5 * len(paths), "the versions are hardly ever used"
