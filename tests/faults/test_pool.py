"""Valuation actors that cannot start: for some time (no database, no free CPU), or at all."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial

import pytest
import ray

from revalue.actors import pool as pools
from revalue.actors.backoff import Backoff
from revalue.actors.pool import ActorPool
from revalue.actors.protocols import NoActorsError, TaskLostError
from revalue.actors.ray_worker import RayWorker
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.value.valuer import ValuerOptions
from tests.faults.armory import Armory
from tests.faults.conftest import Outage
from tests.support import until

NOTHING = Task(
    task_id=10**9,
    first_position_id=1,
    last_position_id=1,
    spans=1,
    rows=1,
    lane=Lane.HISTORY,
)
"""A task without jobs: any actor that runs finishes it at once."""


@pytest.fixture
async def pool(
    armory: Armory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., ActorPool]]:
    made: list[ActorPool] = []
    monkeypatch.setattr(pools, "_REPLACE_PAUSE_SECONDS", (0.01, 0.1))

    def make(url: str, size: int = 1, tasks_per_actor: int = 1) -> ActorPool:
        made.append(
            ActorPool(
                partial(RayWorker, url, ValuerOptions(max_attempts=3, answer_seconds=60)),
                size=size,
                tasks_per_actor=tasks_per_actor,
                task_deadline_seconds=60,
            )
        )
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def _has_trouble(pool: ActorPool) -> bool:
    return pool.trouble is not None


async def test_an_actor_connects_when_the_database_is_back_after_one_warning(
    outage: Outage, pool: Callable[..., ActorPool], caplog: pytest.LogCaptureFixture
) -> None:
    await outage.begin()
    with caplog.at_level("WARNING", logger="revalue"):
        waiting = pool(outage.url)
        task = asyncio.create_task(waiting.run(NOTHING))
        await until(lambda: _has_trouble(waiting))
        assert "PostgreSQL cannot be reached" in waiting.trouble
        outage.end()
        assert (await asyncio.wait_for(task, 60)).spans == 0
    assert waiting.trouble is None
    assert waiting.replaced == 0, "its process was sound"
    assert len(caplog.records) == 1


async def test_an_actor_that_does_not_start_in_time_is_replaced(
    url: str, pool: Callable[..., ActorPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_START_DEADLINE_SECONDS", 0.001)
    slow = pool(url)
    await until(lambda: _has_trouble(slow))
    assert "the cluster may have no free CPU" in slow.trouble
    monkeypatch.setattr(pools, "_START_DEADLINE_SECONDS", 60)
    assert (await asyncio.wait_for(slow.run(NOTHING), 60)).spans == 0


async def test_a_death_is_blamed_on_the_task_that_ran_and_not_on_those_that_waited(
    url: str, armory: Armory, pool: Callable[..., ActorPool]
) -> None:
    armory.arm("value.begun", "KILL")
    dying = pool(url, tasks_per_actor=2)
    tasks = [NOTHING, replace(NOTHING, task_id=NOTHING.task_id + 1)]
    lost = await asyncio.wait_for(
        asyncio.gather(*map(dying.run, tasks), return_exceptions=True), 60
    )
    assert [type(error) for error in lost] == [TaskLostError, TaskLostError]
    assert [error.died for error in lost if isinstance(error, TaskLostError)] == [True, False]


async def test_a_local_rays_workers_have_the_priority_of_their_user(armory: Armory) -> None:
    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)


async def test_when_no_actor_can_start_tasks_fail_with_the_reason(
    url: str, pool: Callable[..., ActorPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database does not exist, which is not a transient error: a retry would not help."""
    monkeypatch.setattr(pools, "_MAX_FAILED_STARTS", 2)
    broken = pool(url.replace("/test_", "/no_test_"))
    with pytest.raises(
        NoActorsError, match=r"2 in a row could not be started.*no_test_.*does not exist"
    ):
        await asyncio.wait_for(broken.run(NOTHING), 60)


async def test_pauses_grow_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def noted(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)
    backoff = Backoff(1, 10)
    for _ in range(50):
        await backoff.pause()
    assert all(
        0.5 * mean <= seconds <= 1.5 * mean
        for seconds, mean in zip(waited, [1, 2, 4, 8, *[10] * 46], strict=True)
    )
    backoff.reset()
    await backoff.pause()
    assert waited[-1] <= 1.5
