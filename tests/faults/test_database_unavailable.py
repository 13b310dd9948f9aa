"""An outage of the database: callers are answered, one warning is logged, and work resumes."""

import asyncio
from pathlib import Path

import pytest

from revalue.engine import fault_injection
from revalue.engine.errors import LeaderActiveError
from revalue.engine.leadership import control
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory
from tests.faults.checks import assert_all_correct
from tests.faults.conftest import Outage
from tests.support import (
    DAYS,
    SETTINGS,
    engine,
    execute,
    fetch,
    load_small_book,
    until,
    until_current,
)


async def test_is_quiet_answers_at_once_during_an_outage_and_one_warning_is_logged(
    url: str, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    async with await Database.open(url) as database:
        await load_small_book(database, portfolios=2)
    tries = 0
    async with engine(outage.url) as running:
        recover = running.loop.recover

        async def counted() -> None:
            nonlocal tries
            tries += 1
            await recover()

        running.loop.recover = counted  # type: ignore[method-assign]
        work = asyncio.create_task(running.loop.run())
        await until(running.loop.is_quiet)
        with caplog.at_level("WARNING"):
            await outage.begin()
            assert not await asyncio.wait_for(running.loop.is_quiet(), 20)
            assert running.loop.progress.trouble
            async with asyncio.timeout(60):
                while tries < 3:
                    assert not await asyncio.wait_for(running.loop.is_quiet(), 20)
                    await asyncio.sleep(0.01)
            assert "cannot be reached" in (running.loop.progress.trouble or "")
            outage.end()
        async with await Database.open(url) as database:
            await execute(database, "UPDATE market_prices SET price = price + 1")
            await until_current(running, database, work)
            running.loop.stop()
            await asyncio.wait_for(work, 30)
            assert await assert_all_correct(database) == 4 * len(DAYS)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert "retrying until it succeeds" in warning


async def test_a_stop_during_transient_errors_still_releases_what_was_not_started(
    url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_injection, "_FOLDER", str(tmp_path))
    armory = Armory(tmp_path)
    await load_small_book(database, portfolios=4)
    slow = SETTINGS.model_copy(update={"task_rows": 20, "task_starts_per_second": 1})
    async with engine(url, settings=slow) as running:
        for point in ("release.begun", "release.committed"):
            armory.arm(point, "LOSE")
        work = asyncio.create_task(running.loop.run())
        await until(lambda: bool(running.pool.ran), work=work)
        running.loop.stop()
        await asyncio.wait_for(work, 30)
        assert armory.victims("release.committed", "LOSE")
    left = await fetch(
        database,
        "SELECT DISTINCT status::text, attempt_count FROM portfolio_valuation_jobs ORDER BY 1",
    )
    assert left == [("COMPLETE", 1), ("PENDING", 0)]


async def test_a_leader_in_a_long_transaction_keeps_its_lease(url: str, database: Database) -> None:
    """Neither its heartbeat nor an operator's pause waits for the end of the transaction."""
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
