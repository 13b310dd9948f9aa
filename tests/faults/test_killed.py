"""Processes of a real Ray killed at every point of the five moves; actors that stand still, given up and woken."""

import os
import signal
from typing import Any

import psutil
import pytest

from engine import faults
from engine.store.database import Database
from tests.faults.arming import Armory
from tests.faults.checks import all_is_right
from tests.faults.conftest import wait_until_quiet
from tests.support import DAYS, execute

# What has to happen before a process comes to the point at all.
COMPANIONS = {"release": "value.begun", "retry": "value.begun", "recover": "apply.begun", "acquire": "apply.begun"}


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
    assert progress["tasks_lost"] >= 1
    await all_is_right(database)
    if psutil.pid_exists(victim):
        os.kill(victim, signal.SIGCONT)
        psutil.wait_procs([psutil.Process(victim)], timeout=30)
    await all_is_right(database)
