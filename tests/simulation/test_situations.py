"""Exact situations in simulated time: sick actors, deadlines, stops, starts of many tasks."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from revalue.actors.attempt import Attempt, AttemptState
from revalue.actors.concurrency import now
from revalue.actors.pool import MemberState
from revalue.actors.protocols import NoActorsError
from revalue.engine.core.lifecycle import JobStatus, Lane
from revalue.engine.core.tasks import Task
from revalue.engine.errors import AccessDeniedError, DatabaseUnavailableError, OutageError
from tests.simulation.clock import NothingWillHappenError, run
from tests.simulation.store import Store
from tests.simulation.world import SETTINGS, Faults, Scheduler, SimulatedWorker, World


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def _world(positions: int = 40, dates: int = 3) -> World:
    world = World(1, Store(securities=1, positions=positions))
    world.store.correct(0, range(dates + 9))
    for _ in range(dates):
        world.store.open()
    return world


async def _until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until the condition is true; return how long that took.

    Raises:
        TimeoutError: it is not after `seconds`.
    """
    begun = now()
    while not condition():
        if now() - begun > seconds:
            raise TimeoutError(f"after {seconds} s")
        await asyncio.sleep(0.01)
    return now() - begun


def _is_done(world: World) -> bool:
    return not world.store.left_to_do()


def test_the_clock_notices_what_hangs() -> None:
    with pytest.raises(NothingWillHappenError):
        run(asyncio.Event().wait())


def test_an_actor_that_never_reaches_the_database_gets_no_task() -> None:
    async def situation() -> None:
        world = _world(positions=60)
        world.sick = {"1.0"}
        scheduler = Scheduler(world, actors=4)
        assert await _until(lambda: _is_done(world), 60) < 30
        assert "does not reach the database" in (scheduler.pool.trouble or "")
        assert scheduler.loop.progress.trouble is None
        assert not [step for step in world.steps if "actor 1.0" in step]

    run(situation())


def test_an_actor_that_falls_sick_rests_and_is_replaced_while_the_lanes_go_on() -> None:
    async def situation() -> None:
        world = _world(positions=200)
        scheduler = Scheduler(world, actors=4)
        ready = [MemberState.READY] * 5
        await _until(lambda: [m.state for m in scheduler.pool._members] == ready, 30)
        sick = scheduler.workers[0]
        world.sick = {sick.name}
        waits: list[float] = []
        async with asyncio.timeout(3600):  # of simulated time
            while not _is_done(world):
                ended = scheduler.loop._attempts._among(None, (AttemptState.ENDED,))
                waits.append(
                    max((now() - world.ended_at[a.task.task_id] for a in ended), default=0)
                )
                await asyncio.sleep(0.02)
        refused = [
            step for step in world.steps if f"actor {sick.name}" in step and "cannot" in step
        ]
        assert 3 <= len(refused) <= 6, refused
        assert sick._is_dead, "it has been replaced"
        assert scheduler.pool.replaced == 1
        assert max(waits) < 2, "results of the others were not applied in time"
        trouble = [step for step in world.steps if ": recover:" in step]
        lost = [step for step in world.steps if "the session that listens is lost" in step]
        assert len(trouble) == 1 + len(lost), "the lanes went on: nothing had to be recovered"

    run(situation())


def test_when_no_actor_reaches_the_database_tries_are_few_and_work_resumes_soon() -> None:
    async def situation() -> None:
        world = _world(positions=200)
        scheduler = Scheduler(world, actors=4)
        await _until(lambda: scheduler.loop.progress.rows_written > 0, 30)
        world.faults = Faults(transient=1.0)
        await asyncio.sleep(120)
        assert "does not reach the database" in (scheduler.loop.progress.trouble or "")
        assert scheduler.pool.replaced == 0, "no actor succeeds: the actors are not at fault"
        refused = [step for step in world.steps if "cannot be written" in step]
        assert len(refused) < 300, "the tries are spread by pauses"
        world.faults = Faults()
        assert await _until(lambda: _is_done(world), 60) < 40
        assert scheduler.loop.progress.trouble is None

    run(situation())


@pytest.mark.parametrize("who", ["the scheduler", "the actors"])
def test_an_outage_is_waited_out_for_a_bounded_time(who: str) -> None:
    async def situation() -> None:
        world = _world(positions=200)
        world.settings = world.settings.model_copy(update={"outage_seconds": 60.0})
        scheduler = Scheduler(world, actors=2)
        await _until(lambda: scheduler.loop.progress.rows_written > 0, 30)
        world.faults = Faults(away=1.0) if who == "the scheduler" else Faults(transient=1.0)
        begun = now()
        with pytest.raises(OutageError, match=r"after \d+ s of trying again.*does not reach|away"):
            await asyncio.wait_for(asyncio.shield(scheduler.work), 300)
        assert 60 < now() - begun < 100
        world.faults = Faults()
        following = Scheduler(world, actors=2)
        assert await _until(lambda: _is_done(world), 60) < 60
        assert following.loop.progress.trouble is None

    run(situation())


def test_a_tasks_deadline_begins_when_the_actor_begins_with_it() -> None:
    """Two honest tasks of 20 s each, one queued behind the other, under a deadline of 30 s."""

    async def situation() -> None:
        world = _world(positions=6)
        world.task_seconds = 20
        scheduler = Scheduler(world, actors=1)
        await _until(lambda: _is_done(world), 300)
        assert scheduler.loop.progress.tasks_lost == 0
        assert scheduler.pool.replaced == 0

    run(situation())


def test_an_actor_that_answers_no_more_is_replaced_after_the_deadline() -> None:
    async def situation() -> None:
        world = _world(positions=2)
        scheduler = Scheduler(world, actors=1)
        world.faults = Faults(stalls=1.0)
        await _until(lambda: any("stalls" in step for step in world.steps), 30)
        world.faults = Faults()
        assert await _until(lambda: _is_done(world), 300) < SETTINGS.task_deadline_seconds + 30
        assert scheduler.pool.replaced >= 1

    run(situation())


@pytest.mark.parametrize("how", ["never connects", "dies at once"])
def test_a_stop_ends_while_no_actor_can_start_and_hands_the_jobs_back(how: str) -> None:
    async def situation() -> None:
        world = _world(positions=6)
        world.machine_is_sick = how == "never connects"
        world.faults = Faults(cannot_start=float(how == "dies at once"))
        scheduler = Scheduler(world, actors=1)
        await asyncio.sleep(2)
        scheduler.loop.stop()
        assert await _until(scheduler.work.done, 60) < 1
        scheduler.work.result()
        assert {job.status for job in world.store.jobs.values()} == {JobStatus.PENDING}
        assert {job.attempts for job in world.store.jobs.values()} == {0}, "none was counted"

    run(situation())


def test_when_actors_die_again_and_again_at_their_start_the_run_ends_with_the_reason() -> None:
    async def situation() -> None:
        world = _world(positions=6)
        world.faults = Faults(cannot_start=1.0)
        scheduler = Scheduler(world, actors=1)
        with pytest.raises(
            NoActorsError, match=r"5 in a row could not be started.*the process has ended"
        ):
            await asyncio.wait_for(asyncio.shield(scheduler.work), 600)

    run(situation())


def test_starting_many_tasks_keeps_no_result_waiting() -> None:
    """400 actors take 800 tasks in 16 s, at 50 starts a second: results are applied meanwhile."""

    async def situation() -> None:
        world = _world(positions=1_000)
        scheduler = Scheduler(world, actors=400)
        waits: list[float] = []
        async with asyncio.timeout(3600):  # of simulated time
            while not _is_done(world):
                ended = scheduler.loop._attempts._among(None, (AttemptState.ENDED,))
                waits.append(
                    max((now() - world.ended_at[a.task.task_id] for a in ended), default=0)
                )
                await asyncio.sleep(0.05)
        assert len(waits) > 100
        assert max(waits) < 2

    run(situation())


def test_a_listener_that_is_refused_says_so_and_the_poll_finds_the_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @asynccontextmanager
    async def refused(hear: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
        raise AccessDeniedError("no pg_hba.conf entry for this user")
        yield asyncio.Event()

    async def situation() -> None:
        world = _world(positions=4)
        scheduler = Scheduler(world)
        scheduler.steps.listening = refused  # type: ignore[method-assign]
        await _until(lambda: _is_done(world), 60)
        world.store.correct(0, [1])
        assert await _until(lambda: _is_done(world), 60) < 2 * SETTINGS.poll_seconds

    logging.disable(logging.NOTSET)
    with caplog.at_level("WARNING"):
        run(situation())
    (warning,) = [each.getMessage() for each in caplog.records]
    assert "cannot listen for changes; they are found by looking for them every 5 s" in warning
    assert "no pg_hba.conf entry" in warning


def test_an_idle_scheduler_that_listens_sends_little_but_its_heartbeats() -> None:
    @asynccontextmanager
    async def never_cut(hear: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
        yield asyncio.Event()

    async def situation() -> None:
        world = _world(positions=4)
        scheduler = Scheduler(world)
        scheduler.steps.listening = never_cut  # type: ignore[method-assign]
        await _until(lambda: _is_done(world) and scheduler.loop.progress.idle, 60)
        await asyncio.sleep(60)
        world.steps.clear()
        await asyncio.sleep(600)
        sent = Counter(step.split(": ")[1] for step in world.steps)
        assert sent.keys() == {"heartbeat", "control", "look"}
        assert sent["heartbeat"] >= 600 / (SETTINGS.lease_seconds / 4) * 0.9
        assert sent["control"] == sent["look"] <= 2 * 12

    run(situation())


def test_what_operators_ask_is_heard_with_a_heartbeat_if_no_notification_says_it() -> None:
    async def situation() -> None:
        world = _world(positions=4)
        scheduler = Scheduler(world)
        await _until(lambda: _is_done(world) and scheduler.loop.progress.idle, 60)
        world.store.paused = True
        assert await _until(lambda: scheduler.loop.progress.paused, 60) < SETTINGS.lease_seconds / 3
        world.store.drain = True
        assert await _until(scheduler.work.done, 60) < SETTINGS.lease_seconds / 3

    run(situation())


def test_a_step_that_one_lane_alone_cannot_take_is_tried_seldom_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries = 0

    async def refused(**_: int) -> None:
        nonlocal tries
        tries += 1
        raise DatabaseUnavailableError("no space is left")

    async def situation() -> None:
        world = _world(positions=20)
        scheduler = Scheduler(world)
        await _until(lambda: _is_done(world), 60)
        fan_out, scheduler.steps.fan_out = scheduler.steps.fan_out, refused  # type: ignore
        world.store.correct(0, [1])
        scheduler.loop.wake()
        await _until(lambda: tries > 0, 30)
        await asyncio.sleep(60)
        assert tries < 20, "the live lane's turns succeed: they do not shorten the pauses"
        assert scheduler.loop.progress.trouble == "no space is left"
        scheduler.steps.fan_out = fan_out  # type: ignore[method-assign]
        await _until(lambda: scheduler.loop.progress.trouble is None, 30)

    logging.disable(logging.NOTSET)
    with caplog.at_level("WARNING"):
        run(situation())
    assert len(caplog.records) == 1


def test_paused_in_trouble_there_is_nothing_left_to_wait_for() -> None:
    """`revalue value` ends then: nothing is begun, so that no attempt can end the trouble."""

    async def situation() -> None:
        world = _world()
        scheduler = Scheduler(world)
        await _until(lambda: scheduler.loop.progress.rows_written > 0, 30)
        world.faults = Faults(transient=1.0)
        await _until(lambda: scheduler.loop.progress.trouble is not None, 30)
        world.store.paused = True
        scheduler.loop.wake()
        await asyncio.sleep(60)
        assert scheduler.loop.progress.trouble is None
        assert await scheduler.loop.is_quiet()

    run(situation())


def test_a_stop_of_a_paused_scheduler_does_not_wait_for_the_poll() -> None:
    async def situation() -> None:
        world = _world()
        world.settings = world.settings.model_copy(update={"poll_seconds": 1_000.0})
        world.task_seconds = 1
        scheduler = Scheduler(world, actors=1)
        await _until(lambda: scheduler.loop._attempts.queued() > 0, 30)
        world.store.paused = True
        scheduler.loop.wake()
        await _until(lambda: not scheduler.loop._attempts.in_flight(), 30)
        await asyncio.sleep(1)
        assert scheduler.loop._attempts.queued()
        scheduler.loop.stop()
        assert await _until(scheduler.work.done, 60) < 1

    run(situation())


def test_the_error_of_an_attempt_that_is_left_behind_is_not_logged_as_a_traceback() -> None:
    """`run` of the simulated clock raises what reaches the handler of errors not asked for."""

    async def situation() -> None:
        world = _world(positions=4)
        world.faults = Faults(transient=1.0)
        scheduler = Scheduler(world)
        attempts = scheduler.loop._attempts
        attempts._tell_ended = attempts.leave_behind
        await asyncio.sleep(10)
        scheduler.loop.stop()
        await _until(scheduler.work.done, 60)
        gc.collect()

    run(situation())


def test_an_actor_that_fails_without_a_word_at_its_start_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect, failed = SimulatedWorker.connect, set[str]()

    async def fails_first(self: SimulatedWorker) -> str:
        if len(failed) < 2:
            failed.add(self.name)
            raise MemoryError
        return await connect(self)

    async def situation() -> None:
        world = _world(positions=4)
        monkeypatch.setattr(SimulatedWorker, "connect", fails_first)
        scheduler = Scheduler(world, actors=1)
        await _until(lambda: _is_done(world), 60)
        assert scheduler.pool.replaced == 2

    run(situation())


def test_an_attempt_cannot_skip_a_state() -> None:
    attempt = Attempt(Task(1, 1, 1, 1, 1, Lane.LIVE))
    with pytest.raises(RuntimeError, match="the attempt at task 1 is queued: it cannot become app"):
        attempt.enter(AttemptState.APPLIED)
