"""known_at: a request returns later what it returned at that time, to the last digit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import polars as pl
import pytest

from revalue.console.reference.reference import ExpectedRow, expected_rows, read_book
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.operate.status import retry_jobs
from revalue.engine.postgres.database import Database
from tests.conftest import new_database
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
)
from tests.web.test_api import client

PATHS = (
    *(
        f"/portfolios/{p}/positions?as_of={day}"
        for p in ("P1", "P2")
        for day in (DAYS[2], DAYS[9], DAYS[-1], date(2024, 2, 9))
    ),
    *(f"/portfolios/{p}/valuation?from={DAYS[0]}&to=2024-02-09" for p in ("P1", "P2")),
    *(f"/positions/{p}/{s}/history" for p in ("P1", "P2") for s in "AB"),
)
NOT_RECORDED = {
    "state",
    "watermark_date",
    "frontier_date",
    "failure_reason",
    "first_hole",
    "last_hole",
    "epoch",
    "first_watermark",
}


def recorded(body: dict[str, Any]) -> dict[str, Any]:
    """Return a response without what is not recorded for earlier times. A line's epoch is."""
    head = {name: value for name, value in body.items() if name not in NOT_RECORDED}
    for item in head.get("items", []):
        for name in NOT_RECORDED - {"epoch"}:
            item.pop(name, None)
        if "lines_waiting" in item:
            item["lines_missing"] += item.pop("lines_waiting") or 0
        if item.get("valuation_status") in ("WAITING_FOR_DATA", "FAILED"):
            item["valuation_status"] = "NOT_VALUED"
    return head


class Recorder:
    """Read every path, and keep each response with the time at which it was known."""

    def __init__(self, web: httpx.AsyncClient) -> None:
        self.web = web
        self.kept: list[tuple[str, str, dict[str, Any]]] = []

    async def read(self) -> None:
        for path in PATHS:
            answer = await self.web.get(path)
            assert answer.status_code == 200, answer.text
            self.kept.append((path, answer.headers["revalue-known-at"], recorded(answer.json())))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read repeatedly while the block runs."""
        done = asyncio.Event()

        async def again() -> None:
            while not done.is_set():
                await self.read()

        task = asyncio.create_task(again())
        try:
            yield
        finally:
            done.set()
            await task

    async def disagreements(self) -> list[tuple[str, str, Any, Any]]:
        """Return the responses that differ now from what was kept."""
        wrong = []
        for path, moment, kept in self.kept:
            answer = await self.web.get(
                path, params={**dict(httpx.URL(path).params), "known_at": moment}
            )
            assert answer.status_code == 200, answer.text
            assert answer.headers["revalue-known-at"] == moment
            again = recorded(answer.json())
            if again != kept:
                wrong.append((path, moment, kept, again))
        return wrong

    @property
    def moments(self) -> int:
        return len({moment for _, moment, _ in self.kept})


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    """A database that is not valued yet, so that its first valuations are in the recorded past."""
    async with new_database(server_url, template) as address:
        yield address


@pytest.fixture
async def running(url: str, database: Database) -> AsyncIterator[Engine]:
    await load_small_book(database, portfolios=2)
    async with engine(url, settings=SETTINGS.model_copy(update={"task_rows": 10})) as started:
        await started.settle()
        yield started


async def test_every_answer_that_was_read_can_be_read_again(
    url: str, database: Database, running: Engine
) -> None:
    async with client(url, connections=4) as web:
        recorder = Recorder(web)
        await recorder.read()
        async with recorder.reading():
            for new in ("31.5", "32.5"):  # the second while the positions are on the first
                await corrections.price(database, "A", DAYS[7], Decimal(new))
                await running.loop.run_once()
            await running.settle()
            await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
            await open_days(database, [date(2024, 1, 29), date(2024, 1, 30)])  # no prices yet
            await running.settle()
            await corrections.position(
                database, "P1", "A", DAYS[5], Decimal(0), Decimal(0), Decimal(0)
            )  # closes dates
            await running.settle()
            await load(
                database,
                Kind.PRICES,
                prices("A", {date(2024, 1, 29): "77", date(2024, 1, 30): "78"}),
            )
            later = facts("P2", "A", {date(2024, 2, 1): "0"})  # after the frontier: no correction
            await load(database, Kind.POSITIONS, later)
            await open_days(database, [date(2024, 1, 31), date(2024, 2, 1), date(2024, 2, 2)])
            await running.settle()
            await corrections.position(
                database, "P1", "A", DAYS[6], Decimal(5), Decimal(50), Decimal(50)
            )  # opens them
            await running.settle()
        await recorder.read()
        assert recorder.moments > 8
        flags = {kept.get("reprocessing_status") for _, _, kept in recorder.kept}
        assert flags == {"CURRENT", "IN_PROGRESS"}
        wrong = await recorder.disagreements()
        assert not wrong, f"{len(wrong)} of {len(recorder.kept)}, first {wrong[0]}"


async def test_a_time_on_the_clock_between_two_commits(
    url: str, database: Database, running: Engine
) -> None:
    """The digits of each time are those of the reference valuation for the data of that time."""
    kept = []
    for new in (None, "31.5", "33.5", "36.5"):
        if new is not None:
            await corrections.price(database, "A", DAYS[7], Decimal(new))
            await running.settle()
        [[now]] = await fetch(database, "SELECT clock_timestamp()")
        async with database.connection() as connection:
            book = await read_book(connection)
        rows = {row[:3]: row for row in expected_rows(book) if isinstance(row, ExpectedRow)}
        kept.append((now, rows))
    async with client(url) as web:
        for now, rows in kept:
            for portfolio, security in (("P1", "A"), ("P2", "A"), ("P2", "B")):
                answer = await web.get(
                    f"/positions/{portfolio}/{security}/history",
                    params={"known_at": now.isoformat()},
                )
                items = {date.fromisoformat(item["date"]): item for item in answer.json()["items"]}
                assert items.keys() == {
                    day for p, s, day in rows if (p, s) == (portfolio, security)
                }
                for day, item in items.items():
                    want = rows[portfolio, security, day]
                    for name in ("quantity", "price", "fx_rate", "market_value", "unrealized_gain"):
                        assert Decimal(item[name]) == getattr(want, name), (now, day, name)


async def test_rows_of_a_job_that_got_part_of_the_way_came_before_the_rest(
    url: str, database: Database, running: Engine
) -> None:
    new = [date(2024, 1, 29) + timedelta(days=n) for n in (0, 1, 2, 3, 4)]
    await execute(
        database, "UPDATE instruments SET max_price_age_sessions = 1 WHERE security_id = 'A'"
    )
    await running.settle()
    await open_days(database, new)
    await running.settle()  # 01-29 by Friday's price; the later dates wait
    async with client(url) as web:
        recorder = Recorder(web)
        await recorder.read()
        waiting = await fetch(
            database,
            "SELECT job_id FROM portfolio_valuation_jobs WHERE status = 'WAITING_FOR_DATA'",
        )
        assert len(await retry_jobs(database, [job for (job,) in waiting])) == len(waiting) > 0
        await (
            running.settle()
        )  # looked at again, in vain: a later attempt of the same job, without rows
        await load(database, Kind.PRICES, prices("A", dict.fromkeys(new[1:], "150")))
        await running.settle()
        await recorder.read()
        history = [
            kept["items"] for path, _, kept in recorder.kept if path == "/positions/P1/A/history"
        ]
        assert [len(items) for items in history] == [21, 25]
        assert not await recorder.disagreements()


async def test_before_the_first_and_in_the_future(
    url: str, database: Database, running: Engine
) -> None:
    async with client(url) as web:
        before = {"known_at": datetime(2001, 1, 1, tzinfo=UTC).isoformat()}
        for path in PATHS:
            answer = await web.get(path, params={**dict(httpx.URL(path).params), **before})
            assert (answer.status_code, answer.json()["items"]) == (200, [])
        answer = await web.get(
            "/positions/P1/A/history", params={"known_at": "0001-01-01T00:00:00+14:00"}
        )
        assert (answer.status_code, answer.json()["items"]) == (200, [])
        for moment, status in (
            ("2190-01-01T00:00:00Z", 400),
            ("9999-12-31T23:00:00-14:00", 400),
            ("2024-01-01T00:00:00", 422),
        ):
            answer = await web.get("/positions/P1/A/history", params={"known_at": moment})
            assert (answer.status_code, answer.headers["content-type"]) == (
                status,
                "application/problem+json",
            ), answer.text


async def test_a_response_can_be_asked_for_again_after_the_clock_was_set_back(
    url: str, database: Database, running: Engine
) -> None:
    """Its time, the last commit, lies in the future then; later commits are stamped after it."""
    await execute(
        database,
        "UPDATE moments SET at = clock_timestamp() + interval '1 hour' "
        "WHERE moment_id = (SELECT max(moment_id) FROM moments)",
    )
    async with client(url) as web:
        recorder = Recorder(web)
        await recorder.read()
        await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
        await running.settle()
        assert not await recorder.disagreements()


async def test_what_was_stored_before_the_upgrade_is_known_from_the_upgrade_on(
    url: str, database: Database, running: Engine
) -> None:
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await running.settle()
    for statement in (  # as migration 0005 finds and leaves a database
        "UPDATE portfolio_valuation_jobs SET moment_id = NULL",
        "UPDATE reprocessing_triggers SET moment_id = NULL",
        "UPDATE position_state SET stale_moment = NULL",
        "DELETE FROM publications",
        "DELETE FROM moments",
        """INSERT INTO publications (position_id, moment_id, epoch, open_dates)
           SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates
           FROM position_state""",
    ):
        await execute(database, statement)
    async with client(url) as web:
        recorder = Recorder(web)
        await recorder.read()
        before = {
            "known_at": (
                datetime.fromisoformat(recorder.kept[0][1]) - timedelta(microseconds=1)
            ).isoformat()
        }
        assert (await web.get("/positions/P1/A/history", params=before)).json()["items"] == []
        items = (
            await web.get("/positions/P1/A/changes", params={"date": DAYS[7].isoformat()})
        ).json()["items"]
        assert [(item["is_shown"], item["published_at"]) for item in items] == [
            (False, None),
            (True, recorder.kept[0][1]),
        ]
        await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
        await running.settle()
        assert not await recorder.disagreements()


async def test_what_is_recorded_last_is_what_the_positions_publish(
    database: Database, running: Engine
) -> None:
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await running.settle()
    await corrections.position(database, "P1", "A", DAYS[5], Decimal(0), Decimal(0), Decimal(0))
    await load(database, Kind.POSITIONS, facts("P2", "B", {date(2024, 3, 1): "0"}))
    await running.settle()
    wrong = await fetch(
        database,
        """SELECT p.* FROM position_state p
           LEFT JOIN positions_at(clock_timestamp()) k USING (position_id)
           WHERE (p.published_epoch, p.published_open_dates)
                 IS DISTINCT FROM (k.published_epoch, k.open_dates)""",
    )
    assert wrong == []
    assert await fetch(database, "SELECT count(*) FROM moments WHERE at IS NULL") == [(0,)]


async def test_a_portfolio_that_holds_nothing_and_a_position_that_was_never_open(
    url: str, database: Database, running: Engine
) -> None:
    empty = {"portfolio_id": ["P8", "P9"], "base_currency": ["USD"] * 2, "calendar_id": ["CAL"] * 2}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame(empty))
    await load(database, Kind.POSITIONS, facts("P9", "A", {DAYS[3]: "0"}))
    await running.settle()
    async with client(url) as web:
        for portfolio, positions, days in (("P8", 0, 0), ("P9", 1, len(DAYS))):
            path = f"/portfolios/{portfolio}/valuation?from={DAYS[0]}&to={DAYS[-1]}"
            lines = f"/portfolios/{portfolio}/positions?as_of={DAYS[-1]}"
            for asked in (path, lines):
                now = await web.get(asked)
                known = {"known_at": now.headers["revalue-known-at"]}
                then = await web.get(asked, params={**dict(httpx.URL(asked).params), **known})
                assert recorded(then.json()) == recorded(now.json())
                assert now.json()["positions"] == positions
            assert len((await web.get(path)).json()["items"]) == days


def test_a_book_reads_the_past_too(url: str, database: Database, running: Engine) -> None:
    from revalue.engine.book import Book
    from revalue.engine.errors import NotYetKnownError, UsageError

    with Book(url, SETTINGS) as book:
        now = datetime.now(UTC)
        was = book.valuations()
        assert book.valuations(known_at=now).equals(was)
        assert book.valuations(known_at=datetime(2001, 1, 1, tzinfo=UTC)).equals(was.clear())
        for moment, error in (
            (datetime(2190, 1, 1, tzinfo=UTC), NotYetKnownError),
            (datetime(2024, 1, 1), UsageError),
        ):
            with pytest.raises(error):
                book.valuations(known_at=moment)
        assert len(was) == 80
