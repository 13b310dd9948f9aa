"""Only one scheduler leads: it is stopped, deposed, replaced or killed, or it cannot start."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray

from revalue.actors import cluster
from revalue.actors.ray_host import RayHost
from revalue.actors.runner import Runner
from revalue.engine.errors import LeaderActiveError, TermLostError, UsageError
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory
from tests.faults.checks import assert_all_correct
from tests.faults.conftest import ON_RAY
from tests.faults.leader import Leader
from tests.on_ray import wait_until_quiet
from tests.support import DAYS, engine, execute, load_small_book, until

CORRECTION = "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'"


def process_of(actor: Any) -> int:
    pid: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    return pid


@pytest.mark.parametrize("point", ["fan_out.written", "stage.written", "apply.written"])
async def test_a_stopped_scheduler_is_deposed_and_writes_nothing_when_it_resumes(
    url: str, database: Database, tmp_path: Path, point: str
) -> None:
    """It is stopped in a transaction that locks the term: the next leader ends its database
    sessions."""
    await load_small_book(database, portfolios=2)
    # One task of all: when it is applied, no valuer is stopped in the middle of another one.
    armory, leader = Armory(tmp_path), Leader(url, str(tmp_path), task_rows=1000)
    armory.arm(point, "STOP")
    leader.ensure_running()
    victim = await armory.wait_for_victim(point, "STOP")
    async with engine(url, holder="next") as running:
        await running.settle()
        assert (await read_status(database)).is_current
        await execute(
            database, "UPDATE market_prices SET price = price + 1 WHERE security_id = 'B'"
        )
        os.kill(victim, signal.SIGCONT)
        assert await leader.wait_until_ended() == 1, "by TermLostError"
        assert (await read_status(database)).positions == {"CURRENT": 2, "REPROCESSING": 2}, (
            "it wrote nothing"
        )
        await running.settle()
    assert await assert_all_correct(database) == 4 * len(DAYS)


async def test_a_deposed_scheduler_does_not_take_over_again_when_ray_restarts_it(
    armory: Armory, url: str, database: Database, scheduler: Any
) -> None:
    """Otherwise two clusters that both were told to take over would depose each other for ever."""
    second = cluster.start_scheduler(url, ON_RAY, take_over=True)
    assert wait_until_quiet(second)["term"] == 2
    armory.arm("apply.written", "STOP")
    await execute(database, CORRECTION)
    victim = await armory.wait_for_victim("apply.written", "STOP")
    async with engine(url, settings=ON_RAY, holder="third") as running:
        work = asyncio.create_task(running.loop.run())
        os.kill(victim, signal.SIGCONT)
        with pytest.raises(TermLostError, match="third holds term 3"):
            await asyncio.to_thread(wait_until_quiet, second)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(LeaderActiveError, match="third holds term 3 and is alive"):
            await asyncio.to_thread(wait_until_quiet, second)
        await until(running.loop.is_quiet)
        running.loop.stop()
        await asyncio.wait_for(work, 30)
    cluster.stop_scheduler(second)
    assert await assert_all_correct(database) == 12 * len(DAYS)


async def test_a_command_reports_that_its_scheduler_was_replaced_and_a_stopped_one_is_replaced(
    armory: Armory, url: str, database: Database
) -> None:
    """On one cluster a scheduler is found by its name, not only by its term."""
    await load_small_book(database, portfolios=1)
    with Runner(RayHost(ON_RAY), url, ON_RAY) as first:
        second = cluster.start_scheduler(url, ON_RAY, take_over=True)
        with pytest.raises(TermLostError, match="another command has taken over"):
            first.progress()
    wait_until_quiet(second)
    with pytest.raises(LeaderActiveError, match="runs on this cluster already"):
        cluster.start_scheduler(url, ON_RAY)
    victim = process_of(second)
    os.kill(victim, signal.SIGSTOP)
    third = cluster.start_scheduler(url, ON_RAY)
    assert wait_until_quiet(third)["term"] == 3
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGCONT)
    cluster.stop_scheduler(third)
    assert await assert_all_correct(database) == 2 * len(DAYS)


async def test_a_metrics_port_in_use_ends_the_scheduler_with_the_reason(
    armory: Armory, url: str
) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        scheduler = cluster.start_scheduler(url, ON_RAY.model_copy(update={"metrics_port": port}))
        with pytest.raises(UsageError, match=f"metrics cannot be served on port {port}"):
            wait_until_quiet(scheduler)
        cluster.stop_scheduler(scheduler)
