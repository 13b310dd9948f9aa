"""One simulated history: a scheduler at work, users who write, faults; then calm, and a verdict.

`python -m tests.simulation.history SEED` shows what happened in the history of a seed.
"""

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Iterable
from contextlib import suppress

from revalue.actors.concurrency import now
from revalue.actors.pool import MemberState
from revalue.actors.protocols import NoActorsError
from tests.simulation.clock import run
from tests.simulation.store import Store, Violation
from tests.simulation.world import SETTINGS, Faults, Scheduler, World

_TURBULENT_SECONDS = 25
_CALM_SECONDS = 400  # actors that stall are noticed, and all that waits longest is tried again
_STOP_SECONDS = 120


def simulate(seed: int) -> World:
    """Run the history of a seed to its end.

    Raises:
        Violation: an invariant does not hold, or work that can be done is not done.
        AssertionError: something hangs, or a state was left in a way that is not allowed.
    """
    return run(_history(seed))


def simulate_all(seeds: Iterable[int]) -> None:
    """Run the histories of several seeds; stop at the first that does not hold."""
    for seed in seeds:
        simulate(seed)


async def _history(seed: int) -> World:
    job_spans = [1, 3][seed // 4 % 2]
    world = World(seed, Store(2, [3, 6, 6, 15][seed % 4], job_spans))
    draw = world.random
    world.faults = _weather(draw)
    world.settings = SETTINGS.model_copy(
        update={
            "tasks_per_actor": draw.choice([1, 2, 2, 3]),
            "task_starts_per_second": draw.choice([1.0, 5.0, 50.0, 500.0]),
            "poll_seconds": draw.choice([0.2, 5.0, 5.0, 60.0]),
            "lease_seconds": draw.choice([2.0, 10.0]),
            "task_deadline_seconds": draw.choice([5.0, 30.0]),
            "lock_seconds": draw.choice([0.5, 3.0, 10.0]),
        }
    )
    world.task_seconds = draw.choice([None, None, None, 0.01, 0.2, 1.0, 3.0])
    for security in range(world.store.securities):
        world.store.correct(security, range(12))
    for _ in range(3):
        world.store.open()
    try:
        await _live(world)
    except Exception as error:
        error.add_note(f"seed {seed}; the last of what happened:\n" + "\n".join(world.steps[-40:]))
        raise
    return world


def _weather(draw: random.Random) -> Faults:
    return Faults(
        away=draw.choice([0, 0, 0.01, 0.05]),
        lost=draw.choice([0, 0, 0.01, 0.05]),
        transient=draw.choice([0, 0, 0.1, 0.4]),
        dies=draw.choice([0, 0, 0.05, 0.3]),
        stalls=draw.choice([0, 0, 0, 0.05, 0.2]),
        cannot_start=draw.choice([0, 0, 0.3]),
    )


async def _live(world: World) -> None:
    draw = world.random
    scheduler = Scheduler(world, actors=draw.choice([1, 2, 4]))
    end = now() + _TURBULENT_SECONDS
    while now() < end:
        await asyncio.sleep(draw.expovariate(1))
        scheduler = await _something_happens(world, scheduler)
        _raise_failure(scheduler)
    world.faults, world.machine_is_sick = Faults(), False
    world.store.paused = False
    world.store.locked.clear()
    world.sick.clear()
    world.notify()
    await _stops(await _settles(world, scheduler))


async def _something_happens(world: World, scheduler: Scheduler) -> Scheduler:
    draw, store = world.random, world.store
    what = draw.choice(
        "correct correct correct record withhold open open pause lock sick poison look look kill "
        "depose stop drain outage unreachable calm weather".split()
    )
    world.note(f"now: {what}")
    security = draw.randrange(store.securities)
    if what == "correct":
        store.correct(security, draw.sample(range(12), draw.randint(1, 4)))
    elif what == "record":
        number = draw.choice(sorted(store.positions))
        if number not in store.locked:
            store.correct_position(number, draw.sample(range(12), 3))
    elif what == "withhold":
        store.correct(security, draw.sample(range(12), 2), missing=True)
    elif what == "open" and store.horizon < 11:
        store.open()
    elif what == "pause":
        store.paused = not store.paused
    elif what == "lock":
        store.locked = set() if store.locked else set(draw.sample(sorted(store.positions), 2))
    elif what == "sick":
        world.machine_is_sick = False
        world.sick = {draw.choice(scheduler.workers).name}
    elif what == "poison":
        store.poisoned = set() if store.poisoned else {draw.choice(sorted(store.positions))}
    elif what == "look":
        await _is_quiet_rightly(world, scheduler)
    elif what == "outage":
        before, world.faults = world.faults, Faults(away=1.0, transient=1.0)
        await asyncio.sleep(draw.choice([0.5, 3, 20]))
        world.faults = before
    elif what == "unreachable":
        world.machine_is_sick = not world.machine_is_sick
        world.sick = {each.name for each in scheduler.workers} if world.machine_is_sick else set()
    elif what == "calm":
        await asyncio.sleep(draw.choice([5, 20]))
    elif what == "weather":
        world.faults = _weather(draw)
    elif what in ("kill", "depose", "stop", "drain"):
        return await _ends(world, scheduler, what)
    world.notify()
    return scheduler


async def _ends(world: World, scheduler: Scheduler, how: str) -> Scheduler:
    """End the scheduler in one of the ways in which one ends; begin another."""
    if how == "kill":
        await scheduler.kill()
    elif how == "stop":
        await _stops(scheduler)
    elif how == "drain":
        world.store.drain = True
        world.notify()
        await _ended(scheduler, "drain")
    successor = Scheduler(world, actors=world.random.choice([1, 2, 4]))
    if how == "depose":
        await _ended(scheduler, "the loss of its term")
    return successor


async def _stops(scheduler: Scheduler) -> None:
    scheduler.loop.stop()
    await _ended(scheduler, "a stop")
    if scheduler.loop._attempts.tasks():
        raise Violation("a stopped scheduler has kept attempts")


async def _ended(scheduler: Scheduler, why: str) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await asyncio.wait([scheduler.work])
    if not scheduler.work.done():
        raise Violation(f"{_STOP_SECONDS} s after {why} the scheduler has not ended")
    _raise_failure(scheduler)


def _raise_failure(scheduler: Scheduler) -> None:
    if scheduler.work.done() and not scheduler.work.cancelled():
        try:
            scheduler.work.result()
        except NoActorsError:
            if not scheduler.world.starts_failed:
                raise


async def _is_quiet_rightly(world: World, scheduler: Scheduler) -> bool:
    """Ask whether nothing is left to do; the answer must not be yes while something is."""
    left_before = world.store.left_to_do()
    revision = len(world.steps)
    try:
        async with asyncio.timeout(30):
            quiet = await scheduler.loop.is_quiet()
    except (TimeoutError, Exception):
        return False
    if quiet and left_before and not world.store.paused:
        left = [each for each in left_before if each in world.store.left_to_do()]
        if left and world.store.term == scheduler.steps.term:
            raise Violation(f"called quiet at step {revision}, but: {left}")
    return quiet


async def _settles(world: World, scheduler: Scheduler) -> Scheduler:
    end = now() + _CALM_SECONDS
    while world.store.left_to_do() or not await _is_quiet_rightly(world, scheduler):
        _raise_failure(scheduler)
        if scheduler.work.done():  # its actors could not start
            scheduler = Scheduler(world, actors=2)
        if now() > end:
            raise Violation(
                f"{_CALM_SECONDS} s after the last fault: {world.store.left_to_do()}, "
                f"trouble: {scheduler.loop.progress.trouble or scheduler.pool.trouble}"
            )
        await asyncio.sleep(0.5)
    world.store.check()
    await _is_sound_again(scheduler)
    if any(worker.most_at_once > world.settings.tasks_per_actor for worker in scheduler.workers):
        raise Violation("an actor had more tasks than it may have")
    return scheduler


async def _is_sound_again(scheduler: Scheduler) -> None:
    """Wait until no trouble is told any more, and the pool is whole."""
    end, members = now() + _CALM_SECONDS, scheduler.pool._members
    while (
        scheduler.loop.progress.trouble
        or scheduler.pool.trouble
        or len(members) != scheduler.actors + 1
        or any(member.state is not MemberState.READY or member.tasks for member in members)
    ):
        if now() > end:
            raise Violation(
                f"nothing is left to do, but: {scheduler.loop.progress.trouble}, "
                f"{scheduler.pool.trouble}, {[(each.state, each.tasks) for each in members]}"
            )
        await asyncio.sleep(1)


def main() -> int:
    """Simulate the seeds of the command line; print what happened, or how many held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.history")
    parser.add_argument("first", type=int, help="the first seed")
    parser.add_argument("count", type=int, nargs="?", default=1, help="how many seeds")
    parser.add_argument("--show", action="store_true", help="print every step")
    given = parser.parse_args()
    logging.disable()
    for seed in range(given.first, given.first + given.count):
        world = simulate(seed)
        if given.show:
            print("\n".join(world.steps))
    print(f"{given.count} histories, no violation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
