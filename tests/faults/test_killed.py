"""Processes killed at every point of the five steps, also on a real Ray; actors that are stopped.

A stopped actor is considered dead and abandoned; it must do no harm when it resumes.
"""

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
from tests.faults.checks import assert_all_correct
from tests.faults.leader import Leader
from tests.on_ray import wait_until_quiet
from tests.support import DAYS, execute, load_small_book, until

CORRECTION = "UPDATE market_prices SET price = price + 1 WHERE security_id = 'A'"
START_POINTS = [
    point for point in fault_injection.POINTS if point.startswith(("acquire", "recover"))
]
ABANDON_POINTS = [
    point for point in fault_injection.POINTS if point.startswith(("release", "retry"))
]


async def test_a_scheduler_is_killed_at_every_point_and_every_row_is_right(
    url: str, database: Database, tmp_path: Path
) -> None:
    """Of those that die while they start, each dies one step later than the one before."""
    await load_small_book(database, portfolios=6)
    armory, leader = Armory(tmp_path), Leader(url, str(tmp_path))

    async def current() -> bool:
        leader.ensure_running()
        return (await read_status(database)).is_current

    try:
        await until(current)
        for point in fault_injection.POINTS:
            if point not in START_POINTS:
                await _killed_at([point], armory, database, current)
        await _killed_at(["apply.begun", *START_POINTS], armory, database, current)
    finally:
        leader.kill()
    assert leader.deaths == [-signal.SIGKILL] * (len(fault_injection.POINTS) + 1)


async def _killed_at(
    points: list[str], armory: Armory, database: Database, current: Callable[[], Awaitable[bool]]
) -> None:
    armory.disarm()
    if points[0] in ABANDON_POINTS:
        armory.arm("value.begun", "LOSE")
    for point in points:
        armory.arm(point, "KILL")
    await execute(database, CORRECTION)

    async def happened() -> bool:
        return await current() and all(armory.victims(point, "KILL") for point in points)

    await until(happened)
    assert await assert_all_correct(database) == 12 * len(DAYS), points


async def test_processes_of_ray_are_killed_and_every_row_is_right(
    armory: Armory, database: Database, scheduler: Any
) -> None:
    """Kill a valuation actor before it reads, with its jobs locked, and between its commit and its
    report; the scheduler in its steps; and let a scheduler fail to acquire the term three times.
    """
    cases = [
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
    for faults in cases:
        armory.disarm()
        for fault in faults:
            armory.arm(*fault)
        await execute(database, CORRECTION)
        for fault in faults:
            await armory.wait_for_victim(*fault)
        wait_until_quiet(scheduler)
        assert await assert_all_correct(database) == 12 * len(DAYS), faults


async def test_a_stopped_actor_is_abandoned_and_does_no_harm_when_it_resumes(
    armory: Armory, database: Database, scheduler: Any
) -> None:
    """At value.marked it holds locks on its jobs, which end only with its database sessions."""
    for lost, point in enumerate(("value.computed", "value.marked"), 1):
        armory.arm(point, "STOP")
        await execute(database, CORRECTION)
        victim = await armory.wait_for_victim(point, "STOP")
        progress = wait_until_quiet(scheduler)
        assert progress["tasks_lost"] >= lost
        await assert_all_correct(database)
        if psutil.pid_exists(victim):
            os.kill(victim, signal.SIGCONT)
            psutil.wait_procs([psutil.Process(victim)], timeout=30)
        assert await assert_all_correct(database) == 12 * len(DAYS), point
