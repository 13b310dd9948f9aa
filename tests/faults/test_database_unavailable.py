"""The database is away for as long as it likes: who asks is answered, it is said once, and work
goes on when it is back."""

import asyncio
from pathlib import Path

import pytest

from revalue.engine import fault_injection
from revalue.engine.errors import LeaderActiveError
from revalue.engine.leadership import control
from revalue.engine.leadership.term import Term
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory
from tests.faults.checks import all_is_right
from tests.faults.conftest import Door
from tests.integration.test_control import until
from tests.support import DAYS, SETTINGS, engine, execute, fetch, load_small_book


async def test_who_asks_is_answered_at_once_and_one_message_says_it(
    url: str, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    async with await Database.open(url) as database:
        await load_small_book(database, portfolios=2)
    tries = 0
    async with engine(door.url) as running:
        recover = running.loop.recover

        async def counted() -> None:
            nonlocal tries
            tries += 1
            await recover()

        running.loop.recover = counted  # type: ignore[method-assign]
        work = asyncio.create_task(running.loop.run())
        await until(running.loop.is_quiet)
        with caplog.at_level("WARNING"):
            await door.shut()
            assert not await asyncio.wait_for(running.loop.is_quiet(), 20)
            assert "cannot be reached" in (running.loop.progress.trouble or "")
            while tries < 3:
                assert not await asyncio.wait_for(running.loop.is_quiet(), 20)
                await asyncio.sleep(0.01)
            door.open()
        async with await Database.open(url) as database:
            await execute(database, "UPDATE market_prices SET price = price + 1")
            while not (await running.loop.is_quiet() and (await read_status(database)).is_current):
                assert not work.done(), work.exception()
                await asyncio.sleep(0.01)
            running.loop.stop()
            await asyncio.wait_for(work, 30)
            assert await all_is_right(database) == 4 * len(DAYS)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert "trying again until it succeeds" in said


async def test_a_stop_in_the_middle_of_trouble_still_frees_what_was_not_begun(
    url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_injection, "_FOLDER", str(tmp_path))
    armory = Armory(tmp_path)
    await load_small_book(database, portfolios=4)
    slowly = SETTINGS.model_copy(update={"task_rows": 20, "task_starts_per_second": 1})
    async with engine(url, settings=slowly) as running:
        for point in ("release.begun", "release.committed"):
            armory.arm(point, "LOSE")
        work = asyncio.create_task(running.loop.run())
        while not running.loop._in_flight.tasks():
            await asyncio.sleep(0)
        running.loop.stop()
        await asyncio.wait_for(work, 30)
        assert armory.victims("release.committed", "LOSE")
    left = await fetch(
        database,
        "SELECT DISTINCT status::text, attempt_count FROM portfolio_valuation_jobs ORDER BY 1",
    )
    assert left == [("COMPLETE", 1), ("PENDING", 0)]


async def test_a_leader_inside_a_long_transaction_is_alive(url: str, database: Database) -> None:
    """Its heartbeat, and an operator's pause, do not wait for the transaction's end."""
    leading = await Term.acquire(database, "leading", lease_seconds=0.5)
    async with leading.transaction("fan_out"):
        await asyncio.wait_for(leading.heartbeat(), 10)
        await asyncio.wait_for(control.pause(database, "op"), 10)

        async def beat() -> None:
            while True:
                await leading.heartbeat()
                await asyncio.sleep(0.05)

        beating = asyncio.create_task(beat())
        with pytest.raises(LeaderActiveError, match="leading holds term 1"):
            await Term.acquire(database, "rival", lease_seconds=0.5)
        beating.cancel()
    assert await Term.acquire(database, "rival", lease_seconds=30, take_over=True)
