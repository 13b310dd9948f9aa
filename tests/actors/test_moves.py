"""A watch goes to Ray while there is much to do, and comes back."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from revalue.actors import moves
from revalue.actors.moves import Moves
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.faults.checks import assert_all_correct
from tests.support import DAYS, execute, fetch, load_small_book, until

ROOT = Path(__file__).parents[2]


def progress(written: int, *, idle: bool = False, **more: Any) -> dict[str, Any]:
    common = {"spans_finished": written, "paused": False, "trouble": None}
    return {**common, "rows_written": written, "idle": idle, **more}


def runtimes(mover: Moves, runtime: str, *seen: dict[str, Any]) -> list[str | None]:
    hosts = [mover.next(runtime, each) for each in seen]
    return [host and host.runtime for host in hosts]


def test_it_goes_to_ray_when_much_was_valued_without_a_rest() -> None:
    told: list[str] = []
    mover = Moves(Settings(), much=1_000, tell=told.append)
    little = [progress(900), progress(900, idle=True), progress(1_899)]
    assert runtimes(mover, "local", *little) == [None, None, None]
    assert told == []
    assert runtimes(mover, "local", progress(1_900)) == ["ray"]
    assert told == ["on Ray: 1,000 position-days are valued, and more are due"]


def test_it_comes_back_when_nothing_was_to_be_done_for_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 100.0
    monkeypatch.setattr(moves.time, "monotonic", lambda: clock)
    told: list[str] = []
    mover = Moves(Settings(), rest_seconds=300, tell=told.append)
    at = {
        0.0: progress(5_000),
        1.0: progress(9_000, idle=True),
        290.0: progress(9_050, idle=True),  # a correction came and went between two looks
        500.0: progress(9_050, idle=True, paused=True),
        600.0: progress(9_050, idle=True, trouble="PostgreSQL cannot be reached"),
        601.0: progress(9_050, idle=True),
        900.0: progress(9_050, idle=True),
    }
    for clock, seen in at.items():
        assert runtimes(mover, "ray", seen) == [None], clock
    clock = 901.0
    assert runtimes(mover, "ray", progress(9_050, idle=True)) == ["local"]
    assert told == ["in this process, without Ray: nothing was to be done for 300 s"]


def test_without_a_ray_it_stays_here() -> None:
    told: list[str] = []
    mover = Moves(Settings(), much=10, tell=told.append)
    assert runtimes(mover, "local", progress(10)) == ["ray"]
    mover.refused("Ray cannot be reached at this machine: no memory")
    assert told[1:] == [
        "in this process, without Ray: Ray cannot be reached at this machine: no memory"
    ]
    assert runtimes(mover, "local", progress(20), progress(5_000)) == [None, None]


async def test_a_watch_that_moves_values_all_of_it(url: str, database: Database) -> None:
    await load_small_book(database, portfolios=2)
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    watching = subprocess.Popen(
        [sys.executable, "-m", "tests.moving_watch", "--actors", "1"],
        cwd=ROOT,
        env={**environment, "REVALUE_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:

        async def has_term(number: int) -> bool:
            assert watching.poll() is None, watching.communicate()
            found = await fetch(database, "SELECT term FROM scheduler_term WHERE holder <> ''")
            return bool(found) and found[0][0] >= number

        async def is_current() -> bool:
            return (await read_status(database)).is_current

        for term in (1, 2, 3):  # here, on Ray, here
            await until(lambda term=term: has_term(term), seconds=90)
            await execute(database, "UPDATE market_prices SET price = price + 1")
            await until(is_current, seconds=90)

        async def is_drained() -> bool:
            """Ask again: between two terms there is no scheduler that could be asked."""
            drained = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "revalue", "drain"],
                env={**environment, "REVALUE_DATABASE_URL": url},
                capture_output=True,
                text=True,
                check=False,
            )
            assert drained.returncode == 0, drained
            return watching.poll() is not None

        await until(is_drained, seconds=90)
        _, errors = await asyncio.to_thread(watching.communicate, timeout=60)
        assert watching.returncode == 0, errors
        assert "watching in this process, without Ray: at most 80 position-days are due" in errors
        assert "watching on Ray: 0 position-days are valued, and more are due" in errors
        assert "watching in this process, without Ray: nothing was to be done for 1 s" in errors
        assert "drained by an operator; nothing is left" in errors
    finally:
        if watching.poll() is None:
            watching.kill()
    assert await assert_all_correct(database) == 4 * len(DAYS)
