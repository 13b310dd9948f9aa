"""The engine on a real Ray, through its front door: the command line in processes of its own, and
its actors killed. What does not need Ray is tried without it, too."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import psutil
import pytest
import ray

from revalue.actors import cluster, runner
from revalue.actors.choice import host_of
from revalue.actors.protocols import SchedulerStartError
from revalue.actors.runner import Runner
from revalue.engine.errors import LeaderActiveError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.faults.armory import Armory
from tests.faults.checks import assert_all_correct
from tests.on_ray import joining, wait_until_quiet
from tests.support import DAYS, engine, execute, fetch, has_ended, load_small_book, until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with cluster.connected(Settings(actors=2)):
        yield


@pytest.fixture(params=["ray", "local"])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    return str(request.param)


def runner_of(runtime: str, url: str, settings: Settings) -> Runner:
    return Runner(host_of(runtime, settings), url, settings)


def revalue(
    *arguments: str, url: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment, **({"REVALUE_DATABASE_URL": url} if url else {})}
    return subprocess.run(
        [sys.executable, "-m", "revalue", *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


async def has_snapshots(database: Database, epoch: int) -> bool:
    query = "SELECT EXISTS (SELECT FROM daily_position_snapshots WHERE epoch = $1)"
    return bool((await fetch(database, query, epoch))[0][0])


def pid_of(name: str) -> int:
    """The process of an actor of the Ray that this process has started, by the title of its worker.

    Ray has no call for it, and other Rays on this machine are not ours to touch.
    """
    own = psutil.Process().children(recursive=True)
    found = [process.pid for process in own if process.cmdline()[:1] == [f"ray::{name}"]]
    assert found, f"no process of {name} among {[process.cmdline()[:1] for process in own]}"
    return found[0]


async def test_the_scheduler_and_its_actors_are_killed_and_every_row_is_right(
    local_ray: None, url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=40)
    settings = Settings(
        task_rows=20,
        tasks_per_actor=2,
        task_starts_per_second=200,
        poll_seconds=0.2,
        lease_seconds=2,
    )
    scheduler = cluster.start_scheduler(url, settings)
    try:
        assert wait_until_quiet(scheduler)["rows_written"] == 40 * 2 * len(DAYS)
        # A valuation actor dies in the middle of a correction of everything.
        await execute(database, "UPDATE market_prices SET price = price * 2")
        await until(lambda: has_snapshots(database, 1))
        os.kill(pid_of("ValuationActor"), signal.SIGKILL)
        progress = wait_until_quiet(scheduler)
        assert progress["term"] == 1
        assert await assert_all_correct(database) == 40 * 2 * len(DAYS)
        # The scheduler dies in the middle of the next one: Ray starts it again, and it leads a new
        # term.
        await execute(database, "UPDATE market_prices SET price = price + 1")
        await until(lambda: has_snapshots(database, 2))
        os.kill(pid_of("ValuationScheduler"), signal.SIGKILL)
        assert wait_until_quiet(scheduler)["term"] == 2
        assert await assert_all_correct(database) == 40 * 2 * len(DAYS)
        doubled = await fetch(
            database,
            "SELECT 1 FROM daily_position_snapshots GROUP BY position_id, date, epoch "
            "HAVING count(*) > 1",
        )
        assert doubled == []
    finally:
        cluster.stop_scheduler(scheduler)


def enter(runner: Runner) -> None:
    with runner:
        pass


async def test_a_scheduler_that_cannot_lead_leaves_nothing_on_a_ray_of_the_user(
    runtime: str, url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=2)
    settings = Settings(actors=1, lease_seconds=2)
    async with engine(url, settings=settings) as leader:
        leading = asyncio.create_task(leader.loop.run())
        with pytest.raises(LeaderActiveError, match="test holds term 1"):
            await asyncio.to_thread(enter, runner_of(runtime, url, settings))
        # As if the other one had begun right after it was looked for.
        monkeypatch.setattr(runner, "require_no_leader", AsyncMock())
        with pytest.raises(LeaderActiveError, match="test holds term 1"):
            await asyncio.to_thread(enter, runner_of(runtime, url, settings))
        leader.loop.stop()
        await leading
    with runner_of(runtime, url, settings) as running:
        assert await asyncio.to_thread(running.until_quiet) is not None


async def test_a_start_that_is_interrupted_gives_the_term_back(
    runtime: str, url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=2)

    async def leads() -> bool:
        return bool((await fetch(database, "SELECT holder IS NOT NULL FROM scheduler_term"))[0][0])

    def interrupted(runner: Runner) -> None:
        asyncio.run_coroutine_threadsafe(until(leads), loop).result()
        raise KeyboardInterrupt

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Runner, "progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(enter, runner_of(runtime, url, Settings(actors=1)))
    assert not await leads()


async def test_a_scheduler_that_cannot_start_says_why(
    local_ray: None, url: str, database: Database
) -> None:
    settings = Settings(actors=1).model_copy(update={"log_level": "NOISE"})
    with (
        pytest.raises(SchedulerStartError, match=r"cannot start: .*NOISE"),
        runner_of("ray", url, settings),
    ):
        pass
    assert not [actor for actor in ray.util.list_named_actors() if actor.startswith("revalue")]


async def test_a_stop_ends_though_no_actor_can_start(
    local_ray: None, url: str, database: Database
) -> None:
    """All CPUs are taken, so that no actor for history starts: what it would do is handed back."""

    class Occupant:  # in the function: the worker cannot import this module
        def ready(self) -> None:
            """Return, which shows that it runs."""

    await load_small_book(database, portfolios=2)
    occupied = [ray.remote(Occupant).options(num_cpus=1).remote() for _ in range(2)]
    ray.get([each.ready.remote() for each in occupied])
    settings = Settings(actors=2, lease_seconds=2, live_business_days=1)
    scheduler = cluster.start_scheduler(url, settings)
    try:
        await until(lambda: are_waiting(scheduler))
        assert await asyncio.to_thread(cluster.stop_scheduler, scheduler, seconds=30)
    finally:
        for each in occupied:
            ray.kill(each)
    released = await fetch(
        database, "SELECT DISTINCT status::text, attempt_count FROM portfolio_valuation_jobs"
    )
    assert released == [("PENDING", 0)]
    assert await fetch(database, "SELECT holder FROM scheduler_term") == [(None,)]


async def are_waiting(scheduler: Any) -> bool:
    progress = await asyncio.to_thread(ray.get, scheduler.progress.remote())
    return progress.get("in_flight", 0) > 0


async def test_more_sessions_than_the_database_allows_are_refused(
    local_ray: None, url: str, database: Database
) -> None:
    with pytest.raises(UsageError, match=r"^500 valuation actors .* need 1013 database sessions"):
        await asyncio.to_thread(enter, runner_of("ray", url, Settings(actors=500)))


async def test_value_runs_until_current_and_says_what_is_not(
    runtime: str, url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=2)
    variables = joining() if runtime == "ray" else {}
    done = revalue("value", "--quiet", "--json", url=url, **variables)
    assert (done.returncode, done.stderr if runtime == "local" else "") == (0, ""), done.stderr
    report = json.loads(done.stdout)
    assert (report["rows_written"], report["status"]["positions"], report["runtime"]) == (
        4 * len(DAYS),
        {"CURRENT": 4},
        runtime,
    )
    await assert_all_correct(database)
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
    )
    waiting = revalue("value", "--quiet", url=url, **variables)
    assert waiting.returncode == 5, waiting.stderr
    assert f"PRICE_TOO_OLD A {DAYS[8]}" in waiting.stderr
    status = json.loads(revalue("status", "--json", url=url).stdout)
    assert status["positions"] == {"CURRENT": 2, "WAITING_FOR_DATA": 2}
    assert status["is_current"] is False


async def test_what_the_scheduler_logs_arrives_and_the_result_stands_alone(
    url: str, database: Database, tmp_path: Path
) -> None:
    """An actor dies: Ray prints words of its own, and the scheduler warns."""
    await load_small_book(database, portfolios=2)
    Armory(tmp_path).arm("value.begun", "KILL")
    command = ("value", "--quiet", "--json", "--runtime", "ray")
    done = revalue(*command, url=url, REVALUE_FAULTS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows_written"], report["tasks_lost"]) == (4 * len(DAYS), 1)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [(line["level"], line["task"] > 0) for line in lines if "task" in line] == [
        ("warning", True)
    ], done.stderr


async def test_a_watching_engine_values_what_comes_and_leaves_in_order_on_sigterm(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    watching = subprocess.Popen(
        [sys.executable, "-m", "revalue", "value", *"--watch --quiet --json --runtime ray".split()],
        cwd=ROOT,
        env={**os.environ, "REVALUE_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        connection = await asyncpg.connect(url)

        async def becomes_true(query: str) -> None:
            async def is_so() -> bool:
                assert watching.poll() is None, watching.communicate()
                return bool(await connection.fetchval(query))

            await until(is_so, seconds=120)

        await becomes_true("SELECT bool_and(state = 'CURRENT') FROM position_status")
        await execute(
            database,
            "UPDATE market_prices SET price = 7 WHERE security_id = 'A' AND price_date = $1",
            DAYS[2],
        )
        await becomes_true("SELECT bool_or(published_epoch = 1) FROM position_state")
        await assert_all_correct(database)
        # Before it asks a Ray for anything: there is none at that address.
        refused = revalue("value", "--quiet", url=url, REVALUE_RAY_ADDRESS="127.0.0.1:1")
        assert (refused.returncode, "holds term 1" in refused.stderr) == (3, True), refused.stderr
        watching.send_signal(signal.SIGTERM)
        output, errors = watching.communicate(timeout=60)
        assert watching.returncode == 0, errors
        assert json.loads(output)["status"]["is_current"] is True
        assert await connection.fetchval("SELECT holder FROM scheduler_term") is None
        await connection.close()
    finally:
        if watching.poll() is None:
            watching.kill()


async def test_a_second_signal_ends_at_once_and_says_what_it_leaves(
    url: str, database: Database, tmp_path: Path
) -> None:
    """The first one waits for an actor that hangs."""
    await load_small_book(database, portfolios=1)
    armory = Armory(tmp_path)
    armory.arm("value.marked", "STOP")
    running = subprocess.Popen(
        [sys.executable, "-m", "revalue", "value", "--quiet", "--actors", "1", "--runtime", "ray"],
        cwd=ROOT,
        env={**os.environ, "REVALUE_DATABASE_URL": url, "REVALUE_FAULTS": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        await asyncio.wait_for(armory.wait_for_victim("value.marked", "STOP"), 60)
        started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        assert "a second signal does not wait" in await asyncio.to_thread(running.stderr.readline)
        begun = time.monotonic()
        running.send_signal(signal.SIGTERM)
        _, errors = await asyncio.to_thread(running.communicate, timeout=60)
        assert time.monotonic() - begun < 5
        assert running.returncode == 128 + signal.SIGTERM
        assert "in flight when last heard of" in errors
        assert "no attempt is counted" in errors
        while not all(map(has_ended, started)):  # those of its Ray
            assert time.monotonic() - begun < 15
            await asyncio.sleep(0.05)
    finally:
        if running.poll() is None:
            running.kill()
    async with engine(url, holder="next") as following:
        await following.settle()
    await assert_all_correct(database)
    counted = await fetch(database, "SELECT max(attempt_count) FROM portfolio_valuation_jobs")
    assert counted == [(1,)]
