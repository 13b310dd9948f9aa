"""Processes of a real Ray killed at every point of the five moves, stopped and woken; and a scheduler that is deposed."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psutil
import pytest
import ray

from actors import cluster
from engine import faults
from engine.errors import TermLostError
from engine.settings import Settings
from engine.store import reports
from engine.store.database import Database
from tests.faults.arming import Armory
from tests.faults.checks import all_is_right
from tests.support import DAYS, engine, execute, load_small_book

SETTINGS = Settings(
    actors=2, task_rows=20, task_starts_per_second=1000, poll_seconds=0.2, lease_seconds=2, task_deadline_seconds=3
)
# What has to happen before a process comes to the point at all.
COMPANIONS = {"release": "value.begun", "retry": "value.begun", "recover": "apply.begun", "acquire": "apply.begun"}


@pytest.fixture(scope="module")
def armory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Armory]:
    """A local Ray whose processes look into the folder of faults. This process does not."""
    folder = tmp_path_factory.mktemp("faults")
    os.environ["REVALUE_FAULTS"] = str(folder)
    with cluster.connected(SETTINGS):
        yield Armory(folder)
    del os.environ["REVALUE_FAULTS"]


@pytest.fixture
async def scheduler(armory: Armory, url: str, database: Database) -> AsyncIterator[Any]:
    await load_small_book(database, portfolios=6)
    armory.disarm()
    started = cluster.start_scheduler(url, SETTINGS)
    wait_until_quiet(started)
    yield started
    cluster.stop_scheduler(started)


def wait_until_quiet(scheduler: Any) -> dict[str, Any]:
    while True:
        try:
            progress: dict[str, Any] = ray.get(scheduler.progress.remote(), timeout=60)
        except ray.exceptions.RayActorError:
            continue  # being started again
        if progress["quiet"]:
            return progress


async def test_a_process_is_killed_at_every_point_and_every_row_is_right(
    armory: Armory, database: Database, scheduler: Any
) -> None:
    for point in faults.POINTS:
        armory.disarm()
        if companion := COMPANIONS.get(point.partition(".")[0]):
            armory.arm(companion, "KILL")
        armory.arm(point, "KILL")
        await execute(database, "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'")
        await armory.happened(point, "KILL")
        wait_until_quiet(scheduler)
        assert await all_is_right(database) == 12 * len(DAYS), point


@pytest.mark.parametrize("point", ["value.computed", "value.marked"])
async def test_an_actor_that_stands_still_is_given_up_and_does_no_harm_when_it_wakes(
    armory: Armory, database: Database, scheduler: Any, point: str
) -> None:
    """At value.marked it holds the locks of its jobs: nobody can free them before its sessions are ended."""
    armory.arm(point, "STOP")
    await execute(database, "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'")
    victim = await armory.happened(point, "STOP")
    progress = wait_until_quiet(scheduler)
    assert progress["tasks_lost"] == 1
    await all_is_right(database)
    if psutil.pid_exists(victim):
        os.kill(victim, signal.SIGCONT)
        psutil.wait_procs([psutil.Process(victim)], timeout=30)
    await all_is_right(database)


@pytest.mark.parametrize("point", ["fan_out.written", "stage.written", "apply.written"])
async def test_a_scheduler_that_stands_still_is_deposed_and_writes_nothing_when_it_wakes(
    armory: Armory, url: str, database: Database, scheduler: Any, point: str
) -> None:
    """It stands inside of a transaction, with its term locked: the next leader ends its sessions."""
    armory.arm(point, "STOP")
    await execute(database, "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'")
    victim = await armory.happened(point, "STOP")
    async with engine(url, holder="next") as running:
        await running.settle()
        assert (await reports.status(database)).is_current
        await execute(database, "UPDATE market_prices SET price = price + 1 WHERE security_id = 'B'")
        os.kill(victim, signal.SIGCONT)
        with pytest.raises((TermLostError, ray.exceptions.RayTaskError), match=r"holder|next holds term"):
            wait_until_quiet(scheduler)
        await running.settle()
    assert await all_is_right(database) == 12 * len(DAYS)
