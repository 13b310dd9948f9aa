"""Processes killed at every point of the five steps, on a real Ray too; actors that stand still,
abandoned and woken."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from revalue.engine import fault_injection
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory
from tests.faults.checks import all_is_right
from tests.faults.conftest import wait_until_quiet
from tests.faults.leader import Leader
from tests.integration.test_control import until
from tests.support import DAYS, execute, load_small_book

CORRECTION = "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'"
BEGINNING = [point for point in fault_injection.POINTS if point.startswith(("acquire", "recover"))]
GIVEN_UP = [point for point in fault_injection.POINTS if point.startswith(("release", "retry"))]


async def test_a_scheduler_is_killed_at_every_point_and_every_row_is_right(
    url: str, database: Database, tmp_path: Path
) -> None:
    """Those that die while they begin are followed by ones that die a step further on."""
    await load_small_book(database, portfolios=6)
    armory, leader = Armory(tmp_path), Leader(url, str(tmp_path))

    async def current() -> bool:
        leader.keep()
        return (await read_status(database)).is_current

    try:
        await until(current)
        for point in fault_injection.POINTS:
            if point not in BEGINNING:
                await _killed_at([point], armory, database, current)
        await _killed_at(["apply.begun", *BEGINNING], armory, database, current)
    finally:
        leader.end()
    assert leader.deaths == [-signal.SIGKILL] * (len(fault_injection.POINTS) + 1)


async def _killed_at(
    points: list[str], armory: Armory, database: Database, current: Callable[[], Awaitable[bool]]
) -> None:
    armory.disarm()
    if points[0] in GIVEN_UP:
        armory.arm("value.begun", "LOSE")
    for point in points:
        armory.arm(point, "KILL")
    await execute(database, CORRECTION)

    async def happened() -> bool:
        return await current() and all(armory.victims(point, "KILL") for point in points)

    await until(happened)
    assert await all_is_right(database) == 12 * len(DAYS), points


async def test_processes_of_ray_are_killed_and_every_row_is_right(
    armory: Armory, database: Database, scheduler: Any
) -> None:
    """A valuation actor before it reads, with its jobs locked, and between its commit and its
    report; the scheduler in its steps; and one that meets trouble while it begins."""
    faults_of_each = [
        [("value.marked", "KILL")],
        [("value.committed", "KILL")],
        [("value.begun", "KILL"), ("release.written", "KILL")],
        [("fan_out.written", "KILL")],
        [("apply.begun", "KILL"), ("recover.written", "KILL")],
        [
            ("apply.begun", "KILL"),
            *((f"acquire.{step}", "LOSE") for step in ("begun", "written", "committed")),
        ],
    ]
    for happening in faults_of_each:
        armory.disarm()
        for fault in happening:
            armory.arm(*fault)
        await execute(database, CORRECTION)
        for fault in happening:
            await armory.happened(*fault)
        wait_until_quiet(scheduler)
        assert await all_is_right(database) == 12 * len(DAYS), happening


async def test_an_actor_that_stands_still_is_given_up_and_does_no_harm_when_it_wakes(
    armory: Armory, database: Database, scheduler: Any
) -> None:
    """At value.marked it holds the locks of its jobs: nobody can free them before its sessions are
    ended."""
    for lost, point in enumerate(("value.computed", "value.marked"), 1):
        armory.arm(point, "STOP")
        await execute(database, CORRECTION)
        victim = await armory.happened(point, "STOP")
        progress = wait_until_quiet(scheduler)
        assert progress["tasks_lost"] >= lost
        await all_is_right(database)
        if psutil.pid_exists(victim):
            os.kill(victim, signal.SIGCONT)
            psutil.wait_procs([psutil.Process(victim)], timeout=30)
        assert await all_is_right(database) == 12 * len(DAYS), point
