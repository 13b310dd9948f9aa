"""Logs are JSON with ids, merged into ranges, and empty while all is well."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from revalue.actors.protocols import TaskLostError
from revalue.engine import logs
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.corrections.log import log_correction
from revalue.engine.postgres.database import Database
from revalue.engine.value import computation
from tests.support import DAYS, SETTINGS, engine, execute, load_small_book, settle_until
from tests.web.test_api import client


class Lines(io.StringIO):
    def read_all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    written = Lines()
    logs.configure("INFO", stream=written)
    yield written
    root = logging.getLogger("revalue")
    root.handlers, root.propagate = [], True
    root.setLevel(logging.NOTSET)


def test_spans_that_touch_are_one() -> None:
    day = date(2024, 2, 27)
    spans = [(day + timedelta(days=n), day + timedelta(days=n)) for n in (3, 0, 1, 2, 9)]
    assert logs.ranges(spans) == ["2024-02-27..2024-03-01", "2024-03-07"]
    assert logs.ranges((n, n) for n in (5, 1, 2, 7)) == ["1..2", "5", "7"]
    assert logs.ranges([(1, 9), (3, 4)]) == ["1..9"]
    assert logs.abbreviated([str(n) for n in range(7)]) == ["0", "1", "2", "3", "4", "and 2 more"]


async def test_a_gap_of_weeks_in_a_price_that_many_hold_is_one_line(
    url: str, database: Database, lines: Lines
) -> None:
    await load_small_book(database, portfolios=7)
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
    )
    async with engine(url, workers=1) as running:
        await running.settle()
    said = [line for line in lines.read_all() if line["event"] == "jobs wait for data"]
    assert len(said) == 1
    line = said[0]
    assert (line["reason"], line["subject"], line["security"]) == ("PRICE_TOO_OLD", "A", ["A"])
    assert line["dates"] == [f"{DAYS[8]}..{DAYS[-1]}"]
    assert line["portfolio"] == ["P1", "P2", "P3", "P4", "P5", "and 2 more"]
    assert (line["epoch"], line["level"], line["logger"]) == (["0"], "info", "revalue.valuation")
    assert len(line["job"]) == 1


async def test_a_correction_can_be_followed_from_the_call_to_its_jobs(
    url: str, database: Database, lines: Lines
) -> None:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        correlation = logs.correlate()
        made = await corrections.price(database, "A", DAYS[3], Decimal(7))
        log_correction(made)
        await running.settle()
    told = {line["event"]: line for line in lines.read_all()}
    line = told["corrected"]
    assert (line["security"], line["trigger"], line["correlation_id"]) == (
        "A",
        made.trigger_id,
        correlation,
    )
    assert told["fanned out"]["trigger"] == [str(made.trigger_id)]
    assert (told["fanned out"]["positions_invalidated"], told["fanned out"]["term"]) == (
        2,
        running.term.number,
    )


async def test_a_request_can_be_found_again_in_the_log(
    url: str, database: Database, lines: Lines
) -> None:
    await load_small_book(database, portfolios=1)
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[3]
    )
    async with engine(url) as running:
        await running.settle()
    async with client(url) as web:
        job = (await web.get("/jobs?status=WAITING_FOR_DATA")).json()["items"][0]["job_id"]
        answer = await web.post(f"/jobs/{job}:retry", headers={"x-correlation-id": "desk-7"})
        assert (answer.status_code, answer.headers["x-correlation-id"]) == (200, "desk-7")
        await execute(database, "ALTER TABLE dead_letters RENAME TO gone")
        failed = await web.get("/dead-letters", headers={"x-correlation-id": "not one\tof ours"})
    own = failed.headers["x-correlation-id"]
    assert (failed.status_code, failed.headers["content-type"]) == (500, "application/problem+json")
    assert "run `revalue migrate`" in failed.json()["detail"]
    assert own in failed.json()["detail"]
    assert len(own) == 32
    retried, error = (line for line in lines.read_all() if line["logger"] == "revalue.web")
    assert (retried["job"], retried["portfolio"], retried["correlation_id"]) == (
        job,
        "P1",
        "desk-7",
    )
    assert (error["path"], error["correlation_id"], error["level"]) == (
        "/dead-letters",
        own,
        "error",
    )
    assert "UndefinedTableError" in error["exception"]


async def test_only_lost_tasks_and_dead_letters_are_logged_by_default(
    url: str, database: Database, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure("WARNING", stream=lines)
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        assert lines.getvalue() == "", "all was well"
        real, lost = running.pool.run, []

        async def loses_the_first(task: Task, taken: Callable[[], None]) -> TaskResult:
            taken()
            if not lost:
                lost.append(task)
                raise TaskLostError("the actor died")
            return await real(task)

        running.pool.run = loses_the_first  # type: ignore[method-assign]
        await execute(
            database,
            "UPDATE market_prices SET price = 1 WHERE security_id = 'A' AND price_date = $1",
            DAYS[3],
        )
        await running.settle()
        (line,) = lines.read_all()
        assert (line["task"], line["reason"], line["level"]) == (
            lost[0].task_id,
            "the actor died",
            "warning",
        )

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(computation, "value", broken)
        await execute(
            database,
            "UPDATE market_prices SET price = 2 WHERE security_id = 'A' AND price_date = $1",
            DAYS[3],
        )
        await settle_until(running, lambda: failed(database))
    errors = [line for line in lines.read_all() if line["level"] == "error"]
    assert {(line["reason"], line["security"][0]) for line in errors} == {("UNEXPECTED_ERROR", "A")}
    assert errors[0]["epoch"] == ["2"]
    assert len(errors[0]["trigger"]) == 1
    assert SETTINGS.log_level == "WARNING"


async def failed(database: Database) -> bool:
    async with database.connection() as connection:
        count = await connection.fetchval(
            "SELECT count(*) FROM portfolio_valuation_jobs WHERE status = 'FAILED'"
        )
    return bool(count == 2)
