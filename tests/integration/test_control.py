"""Pause, resume, drain, dead letters: with a scheduler that runs, and without one."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import LeaderActiveError
from revalue.engine.leadership import control
from revalue.engine.leadership.lease import require_no_leader
from revalue.engine.leadership.term import Term
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from tests.integration.test_cli import code, run
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    fetch,
    is_current,
    load_small_book,
    until,
)

BEFORE_THE_CLOCK = "UPDATE scheduler_term SET heartbeat_at = clock_timestamp() - interval '1 hour'"
AFTER_THE_CLOCK = "UPDATE scheduler_term SET heartbeat_at = clock_timestamp() + interval '1 hour'"
CORRECTION = "UPDATE market_prices SET price = price + 1"


class Gate:
    """Holds every task of a pool until it is opened."""

    def __init__(self, running: Engine) -> None:
        self.opened = asyncio.Event()
        self.waiting = 0
        self._real = running.pool.run
        running.pool.run = self._run  # type: ignore[method-assign]

    async def _run(self, task: Task, taken: Callable[[], None]) -> TaskResult:
        taken()
        self.waiting += 1
        await self.opened.wait()
        return await self._real(task)


async def test_a_paused_scheduler_finishes_work_in_flight_and_starts_nothing(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=4)
    async with engine(url, settings=SETTINGS.model_copy(update={"task_rows": 20})) as running:
        gate = Gate(running)
        work = asyncio.create_task(running.loop.run())
        await until(lambda: gate.waiting == running.pool.capacity(Lane.HISTORY))
        since = await control.pause(database, "op@host")
        assert await control.pause(database, "other@host") == since, (
            "a second pause changes nothing"
        )
        await until(lambda: running.loop.progress.paused)
        gate.opened.set()
        await until(running.loop.is_quiet)
        rows = await fetch(database, "SELECT count(*) FROM daily_position_snapshots")
        assert rows == [(running.pool.capacity(Lane.HISTORY) * len(DAYS),)], (
            "what was in flight is committed, and nothing else"
        )
        await execute(database, CORRECTION)
        await until(running.loop.is_quiet)
        status = await read_status(database)
        assert (status.triggers_queued, status.paused_by, status.is_current) == (
            2,
            "op@host",
            False,
        )
        assert await control.resume(database) == since
        assert await control.resume(database) is None
        await until(lambda: is_current(database), work=work)
        running.loop.stop()
        await asyncio.wait_for(work, 30)


async def test_a_drained_scheduler_applies_work_in_flight_and_releases_the_rest_uncounted(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=4)
    async with engine(url, settings=SETTINGS.model_copy(update={"task_rows": 20})) as running:
        gate = Gate(running)
        work = asyncio.create_task(_run_and_release(running))
        await until(lambda: gate.waiting == running.pool.capacity(Lane.HISTORY))
        drained = asyncio.create_task(control.drain(database, seconds=30, lease_seconds=30))
        await until(lambda: running.loop.is_stopping)
        assert not drained.done(), "it waits for what is in flight"
        gate.opened.set()
        assert (await drained).holder == "test"
        await work
        jobs = await fetch(
            database,
            "SELECT status::text, attempt_count, count(*) FROM portfolio_valuation_jobs "
            "GROUP BY 1, 2",
        )
        assert {(s, a) for s, a, _ in jobs} <= {("COMPLETE", 1), ("PENDING", 0)}
        assert ("COMPLETE", 1, running.pool.capacity(Lane.HISTORY)) in jobs
    async with engine(url, holder="next") as running:
        await running.settle()
    assert (await read_status(database)).is_current, "the drain concerned the term before only"


async def _run_and_release(running: Engine) -> None:
    await running.loop.run()
    await running.term.release()


async def test_drain_does_not_wait_for_a_leader_that_is_missing_or_silent(
    url: str, database: Database
) -> None:
    assert (await control.drain(database, seconds=30, lease_seconds=30)).holder is None
    await Term.acquire(database, "gone", lease_seconds=30)
    await execute(
        database, "UPDATE scheduler_term SET heartbeat_at = heartbeat_at - interval '1 minute'"
    )
    assert (await control.drain(database, seconds=30, lease_seconds=30)).is_dead
    await execute(database, AFTER_THE_CLOCK)
    assert (await control.drain(database, seconds=30, lease_seconds=30)).is_dead
    await execute(database, "UPDATE scheduler_term SET heartbeat_at = clock_timestamp()")
    with pytest.raises(control.DrainTimeoutError, match=r"gone \(term 1\) still finishes"):
        await control.drain(database, seconds=0, lease_seconds=30)


async def test_no_request_waits_for_an_open_transaction_of_the_scheduler(
    url: str, database: Database
) -> None:
    leading = await Term.acquire(database, "leading", lease_seconds=30)
    async with leading.transaction("fan_out"), asyncio.timeout(10):
        since = await control.pause(database, "op")
        assert await control.resume(database) == since
        assert (await control.leader(database)).holder == "leading"
        with pytest.raises(control.DrainTimeoutError):
            await control.drain(database, seconds=0, lease_seconds=30)
        assert (await leading.control()).drain
        await leading.heartbeat()


async def test_a_leader_that_died_just_now_is_distinguished_from_one_that_is_alive(
    url: str, database: Database
) -> None:
    dead = await Term.acquire(database, "dead", lease_seconds=0.5)
    alive = await Term.acquire(database, "alive", lease_seconds=0.5)
    assert alive.number == dead.number + 1, "there was no heartbeat for the time of a lease"

    async def beat() -> None:
        while True:
            await alive.heartbeat()
            await asyncio.sleep(0.05)

    beating = asyncio.create_task(beat())
    with pytest.raises(LeaderActiveError, match="alive holds term 2"):
        await Term.acquire(database, "third", lease_seconds=0.5)
    beating.cancel()


@asynccontextmanager
async def leading(url: str, holder: str) -> AsyncIterator[Term]:
    """A leader that sends no heartbeat, with a database session of its own."""
    name = application_name("scheduler", holder)
    async with await Database.open(url, application=name) as opened:
        yield await Term.acquire(opened, holder, lease_seconds=30)


@pytest.mark.parametrize("clock", [BEFORE_THE_CLOCK, AFTER_THE_CLOCK])
async def test_a_leader_is_judged_by_its_heartbeats_whatever_the_clock_does(
    url: str, database: Database, clock: str
) -> None:
    """A clock set forward deposes no living leader; one set back keeps no dead one."""
    told: list[str] = []
    async with leading(url, "first") as alive:
        await execute(database, clock)

        async def beat() -> None:
            await asyncio.sleep(0.3)
            await alive.heartbeat()

        beating = asyncio.create_task(beat())
        with pytest.raises(LeaderActiveError, match="first holds term 1"):
            await Term.acquire(database, "second", lease_seconds=2)
        await beating
        await execute(database, clock)
        begun = time.monotonic()
        drained = asyncio.create_task(control.drain(database, seconds=30, lease_seconds=1.5))
        second = await Term.acquire(database, "second", lease_seconds=1.5, tell=told.append)
        assert 1.4 < time.monotonic() - begun < 10, "it hangs, and is connected: a lease is waited"
        assert "first holds term 1 and sends no heartbeat" in told[0]
        await drained
    await second.release()
    async with leading(url, "third"):
        pass
    await execute(database, clock)
    begun = time.monotonic()
    await Term.acquire(database, "fourth", lease_seconds=30)
    assert time.monotonic() - begun < 5, "it has died, with its sessions: nothing is waited for"


async def test_no_scheduler_is_started_beside_one_that_leads(url: str, database: Database) -> None:
    await require_no_leader(database, lease_seconds=30)
    async with leading(url, "first") as alive:
        await require_no_leader(database, lease_seconds=0.2)  # one that hangs is succeeded later

        async def beat() -> None:
            await asyncio.sleep(0.3)
            await alive.heartbeat()

        beating = asyncio.create_task(beat())
        with pytest.raises(LeaderActiveError, match="first holds term 1"):
            await require_no_leader(database, lease_seconds=30)
        await beating
    await require_no_leader(database, lease_seconds=30)


async def test_the_operators_commands(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=1)
    assert "paused since" in run(url, "pause").output
    assert "paused since" in run(url, "status").output
    assert json.loads(run(url, "status", "--json").stdout)["paused_at"] is not None
    assert "resumed; the pause began at " in run(url, "resume").output
    assert run(url, "resume").output == "there was no pause\n"
    assert run(url, "drain").output == (
        "no scheduler leads\nnot every position is current: 2 positions behind; 3 triggers queued\n"
    )
    assert code(url, "drain", "--timeout", "0")[0] == 2
    await execute(
        database, "UPDATE market_prices SET price = 99999999999999999 WHERE security_id = 'A'"
    )
    async with engine(url) as running:
        await running.settle()
    (letter,) = json.loads(run(url, "dead-letters", "--json").stdout)
    assert (letter["security_id"], letter["failure_reason"]) == ("A", f"OVERFLOW A {DAYS[0]}")
    assert "1 dead letter" in run(url, "dead-letters").output
    assert run(url, "jobs", "retry", "--failed").output == "1 job requeued\n"
    assert json.loads(run(url, "dead-letters", "--json").stdout) == []
    assert len(json.loads(run(url, "dead-letters", "--all", "--json").stdout)) == 1
    assert run(url, "jobs", "retry", "--failed").output == "0 jobs requeued\n"
