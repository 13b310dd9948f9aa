"""The engine in the process of the command, without Ray: how it is chosen, and how it ends."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from typer.testing import CliRunner

import revalue
from revalue.actors import choice
from revalue.actors.choice import LOCAL_POSITION_DAYS, choose
from revalue.actors.local import LocalHost
from revalue.actors.runner import Runner
from revalue.console.cli import value as value_command
from revalue.console.cli.main import app
from revalue.engine.errors import UsageError
from revalue.engine.leadership import sessions
from revalue.engine.operate.due_bound import due_at_most
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from revalue.engine.runtime import Run, runtime
from revalue.engine.settings import Settings
from revalue.engine.value import computation
from tests.faults.armory import Armory
from tests.faults.checks import assert_all_correct
from tests.support import DAYS, engine, execute, facts, fetch, load_small_book, until

ROOT = Path(__file__).parents[2]


def command(url: str, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "revalue", *arguments],
        cwd=ROOT,
        env={**os.environ, "REVALUE_DATABASE_URL": url, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def ended(running: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = await asyncio.to_thread(running.communicate, timeout=60)
    return running.returncode, output, errors


async def test_a_small_valuation_imports_no_ray(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=2)
    look = (
        "import atexit, sys\n"
        "heavy = {'ray', 'alembic', 'sqlalchemy'}\n"
        "atexit.register(lambda: print('imported:', *heavy & set(sys.modules)))\n"
        "from revalue.console.cli.start import main\n"
        "sys.argv = ['revalue', 'value']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", look],
        env={**os.environ, "REVALUE_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == (
        "valuing in this process, without Ray: at most 80 position-days are due\n"
    )
    assert "80 position-days in " in done.stdout
    assert done.stdout.endswith("imported:\n"), done.stdout


async def test_what_is_due_is_never_more_than_the_bound(url: str, database: Database) -> None:
    """Of single corrections it is exactly the bound, or one is told that nothing is due."""
    await load_small_book(database, portfolios=4)
    closed = facts("P3", "A", {DAYS[10]: "0"})
    changes: list[tuple[str, int | None]] = [
        ("", 8 * len(DAYS)),
        ("UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1", 4),
        ("UPDATE fx_rates SET rate = 2 WHERE rate_date = $1", 4),
        ("UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'", 4 * len(DAYS)),
        ("DELETE FROM market_prices WHERE price_date = $1", None),
        ("UPDATE instruments SET max_price_age_sessions = 2", None),
        ("DELETE FROM business_dates WHERE business_date = $1", None),
        ("UPDATE valuation_policy SET fx_max_age_sessions = fx_max_age_sessions + 1", None),
        ("UPDATE market_prices SET price = 1 WHERE price_date = '2199-01-01'", 0),
    ]
    async with engine(url) as running, revalue_book(url) as book:
        before = 0
        for statement, expected in changes:
            if statement:
                await execute(database, statement, *([DAYS[12]] if "$1" in statement else []))
            bound = await due_at_most(database, LOCAL_POSITION_DAYS)
            assert await due_at_most(database, 3) == min(3, bound)
            await running.settle()
            written = running.loop.progress.rows_written - before
            before = running.loop.progress.rows_written
            assert written <= bound, statement
            assert expected in (None, written), statement
            assert expected in (None, bound), statement
            assert await due_at_most(database, 1) == 0, "after it nothing is due"
        await asyncio.to_thread(book.load, "positions", closed)
        assert await due_at_most(database, LOCAL_POSITION_DAYS) > 0
        await running.settle()
        assert running.loop.progress.rows_written - before > 0


@asynccontextmanager
async def revalue_book(url: str) -> AsyncIterator["revalue.Book"]:
    with await asyncio.to_thread(revalue.connect, url) as book:
        yield book


async def test_the_runtime_is_chosen_by_what_is_due(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=2)
    for name in ("RAY_ADDRESS", "REVALUE_RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)

    async def chosen(**settings: Any) -> tuple[str, str]:
        watch = settings.pop("watch", False)
        made = await asyncio.to_thread(choose, url, Settings(**settings), watch=watch)
        asked = bool({"runtime", "ray_address"} & settings.keys())
        assert made.is_for_now is (watch and not asked)
        return made.runtime, str(made)

    here = "in this process, without Ray: "
    assert await chosen() == ("local", f"{here}at most 80 position-days are due")
    monkeypatch.setattr(choice, "LOCAL_POSITION_DAYS", 81)
    assert (await chosen())[0] == "local"
    monkeypatch.setattr(choice, "LOCAL_POSITION_DAYS", 80)
    assert await chosen() == ("ray", "on Ray: 80 position-days or more are due")
    assert (await chosen(runtime="local"))[0] == "local"
    monkeypatch.undo()
    assert (await chosen(runtime="ray"))[0] == "ray"
    assert await chosen(watch=True) == ("local", f"{here}at most 80 position-days are due")
    assert (await chosen(watch=True, runtime="ray"))[0] == "ray"
    cluster = "10.0.0.1:6379"
    assert await chosen(ray_address=cluster) == ("ray", f"on Ray: the cluster at {cluster} is set")
    assert (await chosen(ray_address=cluster, runtime="local"))[0] == "local"
    async with engine(url) as running:
        await running.settle()
        await running.term.release()
    assert await chosen() == ("local", f"{here}nothing is due")
    lost = await asyncio.to_thread(choose, "postgresql://u@127.0.0.1:1/d", Settings())
    assert (lost.runtime, "it cannot be told how much is due" in str(lost)) == ("ray", True)


async def test_a_wrong_runtime_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no runtime 'dask'"):
        runtime("dask")
    asked = CliRunner().invoke(app, ["--database-url", url, "value", "--runtime", "dask"])
    assert asked.exit_code == 2
    monkeypatch.setenv("REVALUE_RUNTIME", "dask")
    told = CliRunner().invoke(app, ["--database-url", url, "value"])
    assert told.exception is not None
    assert "REVALUE_RUNTIME=dask" in str(told.exception)


async def test_more_that_becomes_due_meanwhile_is_valued_here_and_told(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=2)
    monkeypatch.setattr(value_command, "LOCAL_POSITION_DAYS", 10)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["--database-url", url, "value"])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("more has become due: 80 position-days are valued by now") == 1
    assert "goes on without Ray" in done.stderr


async def test_a_notebook_values_without_ray(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=2)
    async with revalue_book(url) as book:
        run = book.value()  # while the event loop of this thread runs
        assert (run.runtime, run.rows_written) == ("local", 4 * len(DAYS))
        book.correct(revalue.Price("A", DAYS[2], Decimal("1.5")))
        assert book.value().rows_written == 2
        assert book.value().rows_written == 0
    await assert_all_correct(database)
    assert await fetch(database, "SELECT holder FROM scheduler_term") == [(None,)]
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'revalue valuer%'"
    assert await fetch(database, left) == [(0,)], "its database sessions are closed"


@pytest.mark.parametrize("error", [MemoryError("no memory"), pl.exceptions.PanicException("broke")])
async def test_a_failure_inside_of_polars_is_one_dead_letter(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """As on Ray: there, too, it ends no process."""
    await load_small_book(database, portfolios=2)
    sound = computation.value

    def value(spans: pl.DataFrame, *rest: Any) -> Any:
        if 2 in spans["position_id"]:
            raise error
        return sound(spans, *rest)

    monkeypatch.setattr(computation, "value", value)
    settings = Settings(runtime="local", max_attempts=2, retry_seconds=0.05)

    def run() -> dict[str, int]:
        with Runner(LocalHost(settings), url, settings) as runner:
            return runner.until_quiet().status.positions

    assert await asyncio.to_thread(run) == {"CURRENT": 3, "FAILED": 1}
    [(trace,)] = await fetch(database, "SELECT traceback FROM dead_letters")
    assert type(error).__name__ in trace


async def test_fewer_actors_are_taken_where_the_database_allows_fewer_sessions(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=2)
    settings = Settings(runtime="local")

    def run() -> int:
        with Runner(LocalHost(settings), url, settings) as runner:
            return runner.until_quiet().rows_written

    async def allowed(_: Database) -> int:
        return sessions_there

    monkeypatch.setattr(sessions, "_allowed", allowed)
    sessions_there = sessions.sessions_needed(1)
    assert await asyncio.to_thread(run) == 4 * len(DAYS)
    sessions_there -= 1
    with pytest.raises(UsageError, match=r"^1 valuation actors .* need 15 database"):
        await asyncio.to_thread(run)


@asynccontextmanager
async def locked_snapshots(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """No valuation can write while this lasts."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN; LOCK daily_position_snapshots IN SHARE MODE")
        yield connection
    finally:
        await connection.close()


async def is_waiting(database: Database) -> bool:
    query = """SELECT EXISTS (SELECT FROM pg_stat_activity
                              WHERE application_name LIKE 'revalue valuer%'
                                AND wait_event_type = 'Lock')"""
    return bool((await fetch(database, query))[0][0])


async def test_a_signal_finishes_what_is_in_flight(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=8)
    async with locked_snapshots(url) as lock:
        running = command(url, "value", "--json", REVALUE_TASK_ROWS="20")
        await until(lambda: is_waiting(database), seconds=60)
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        begun = await asyncio.to_thread(running.stderr.readline)
        assert begun.startswith("valuing in this process, without Ray: at most 320 ")
        assert "a second signal does not wait" in await asyncio.to_thread(running.stderr.readline)
        await lock.execute("ROLLBACK")
        code, output, errors = await ended(running)
    assert code == 128 + signal.SIGTERM, errors
    assert "stopped: work in flight was finished and applied; not every position is" in errors
    assert '"is_current": false' in output
    assert await fetch(database, "SELECT holder FROM scheduler_term") == [(None,)]
    left = "SELECT DISTINCT status::text FROM portfolio_valuation_jobs ORDER BY 1"
    assert await fetch(database, left) == [("COMPLETE",), ("PENDING",)], "none was abandoned"
    async with engine(url) as following:
        await following.settle()
    assert await assert_all_correct(database) == 16 * len(DAYS)


async def test_a_second_signal_ends_at_once_and_says_what_it_leaves(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    async with locked_snapshots(url):
        running = command(url, "value", "--quiet")
        await until(lambda: is_waiting(database), seconds=60)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        assert "a second signal does not wait" in await asyncio.to_thread(running.stderr.readline)
        begun = time.monotonic()
        running.send_signal(signal.SIGTERM)
        code, _, errors = await ended(running)
        assert time.monotonic() - begun < 5
    assert code == 128 + signal.SIGTERM
    assert "1 task was in flight when last heard of. The scheduler of term 1 in this process" in (
        errors
    )
    again = command(url, "value", "--quiet", "--runtime", "local", REVALUE_LEASE_SECONDS="1")
    assert (await ended(again))[0] == 0
    await assert_all_correct(database)


async def test_an_actor_that_hangs_is_given_up_with_its_sessions_and_replaced(
    url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread cannot be killed: its database sessions are ended, so that it can write nothing."""
    await load_small_book(database, portfolios=2)
    settings = Settings(runtime="local", task_deadline_seconds=0.5, retry_seconds=0.05)

    def run() -> Run:
        with Runner(LocalHost(settings), url, settings) as runner:
            while not runner.progress()["tasks_lost"]:
                time.sleep(0.02)
            asyncio.run_coroutine_threadsafe(lock.execute("ROLLBACK"), loop).result()
            return runner.until_quiet()

    loop = asyncio.get_running_loop()
    async with locked_snapshots(url) as lock:
        done = await asyncio.to_thread(run)
    assert done.status.positions == {"CURRENT": 4}
    assert await assert_all_correct(database) == 4 * len(DAYS)
    left = [each.name for each in threading.enumerate() if each.name.startswith("revalue valuer")]
    assert left == []
    gc.collect()
    noise = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert noise == []


async def test_a_process_that_dies_is_recovered_from(
    url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=2)
    Armory(tmp_path).arm("value.copied", "KILL")
    killed = await ended(command(url, "value", "--quiet", REVALUE_FAULTS=str(tmp_path)))
    assert killed[0] == -signal.SIGKILL
    assert await fetch(database, "SELECT DISTINCT status::text FROM portfolio_valuation_jobs") == [
        ("PROCESSING",)
    ]
    assert await due_at_most(database, LOCAL_POSITION_DAYS) == 4 * len(DAYS), "with those in flight"

    async def is_told() -> bool:  # the server notices it a moment later
        chosen = await asyncio.to_thread(choose, url, Settings())
        return (chosen.runtime, "the last run has died" in str(chosen)) == ("ray", True)

    await until(is_told)
    again = command(url, "value", "--quiet", "--runtime", "local", REVALUE_LEASE_SECONDS="1")
    assert (await ended(again))[0] == 0
    assert await assert_all_correct(database) == 4 * len(DAYS)
    assert (await asyncio.to_thread(choose, url, Settings())).runtime == "local"


async def test_an_operator_drains_a_watch_without_ray(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=1)
    watching = command(url, "value", "--watch", "--quiet", "--runtime", "local")

    async def is_current() -> bool:
        assert watching.poll() is None, watching.communicate()
        return (await read_status(database)).is_current

    await until(is_current, seconds=60)
    await execute(database, "UPDATE market_prices SET price = price + 1")
    await until(is_current, seconds=60)
    await execute(database, "UPDATE calendars SET opened_through = $1", DAYS[-1])
    drained = await ended(command(url, "drain"))
    assert drained[0] == 0, drained
    code, _, errors = await ended(watching)
    assert (code, errors) == (
        0,
        "drained by an operator; nothing is left: every position is current\n",
    )
    await assert_all_correct(database)
