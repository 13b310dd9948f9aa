"""A watch goes to Ray while there is much to do, and comes back."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from revalue.actors import moves, runner
from revalue.actors.local import LocalHost
from revalue.actors.moves import Moves
from revalue.engine.errors import LeaderActiveError, UsageError
from revalue.engine.leadership import control
from revalue.engine.leadership.term import Term
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from revalue.engine.runtime import RunProgress
from revalue.engine.settings import Settings
from tests.faults.checks import assert_all_correct
from tests.support import DAYS, execute, fetch, load_small_book, until

T = TypeVar("T")

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
    mover.refused("local", "Ray cannot be reached at this machine: no memory")
    assert told[1:] == [
        "in this process, without Ray: Ray cannot be reached at this machine: no memory"
    ]
    assert runtimes(mover, "local", progress(20), progress(5_000)) == [None, None]


class Unreachable(LocalHost):
    """A place where no scheduler can be started."""

    @contextmanager
    def connected(self) -> Iterator[None]:
        raise UsageError("no memory")
        yield


class TooSmall(LocalHost):
    """A place whose scheduler finds that it cannot work, when the one before has ended."""

    def ask(self, idle_seconds: float | None) -> dict[str, Any] | None:
        raise UsageError("3 valuation actors need 19 database sessions")


class Between(LocalHost):
    """A place where something happens before the scheduler starts: between two terms."""

    def __init__(self, settings: Settings, happen: Callable[[], None]) -> None:
        super().__init__(settings)
        self._happen = happen

    def start(self, url: str, settings: Settings, *, holder: str, take_over: bool) -> None:
        self._happen()
        super().start(url, settings, holder=holder, take_over=take_over)


class Interrupted(LocalHost):
    """A place where a signal comes while its scheduler ends for the next one."""

    def hand_over(self) -> dict[str, Any] | None:
        assert self._thread is not None
        assert self._scheduler is not None
        self._thread.submit(self._scheduler.hand_over())
        raise SeenEnough


class Restless:
    """Moves once, as soon as something was valued and nothing is left."""

    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self.has_moved = False
        self.refusals: list[str] = []

    def next(self, runtime: str, progress: dict[str, Any]) -> LocalHost | None:
        if self.has_moved or not progress["rows_written"] or not progress["idle"]:
            return None
        self.has_moved = True
        return self._host

    def refused(self, runtime: str, why: str) -> None:
        self.refusals.append(f"{runtime}: {why}")


class SeenEnough(Exception):
    """Ends a watch."""


@pytest.mark.parametrize(
    ("place", "refusals"),
    [
        (LocalHost, []),
        (Unreachable, ["local: no memory"]),
        (TooSmall, ["local: 3 valuation actors need 19 database sessions"]),
    ],
)
async def test_progress_counts_each_row_once_whether_it_moves_or_stays(
    url: str,
    database: Database,
    place: type[LocalHost],
    refusals: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await load_small_book(database, portfolios=1)
    monkeypatch.setattr(runner, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(runner, "_WATCH_SECONDS", 0.1)
    settings = Settings(actors=1)
    mover = Restless(place(settings))
    after: list[int] = []

    def look(progress: RunProgress) -> None:
        if mover.has_moved:
            after.append(progress.rows_written)
        if len(after) == 2:
            raise SeenEnough

    def watch() -> None:
        with runner.Runner(LocalHost(settings), url, settings) as running:
            running.watch(look, mover)

    with pytest.raises(SeenEnough):
        await asyncio.wait_for(asyncio.to_thread(watch), 60)
    assert after == [2 * len(DAYS)] * 2
    assert mover.refusals == refusals


async def moved_once(
    url: str,
    database: Database,
    between: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    **options: Any,
) -> list[int]:
    """Watch with one move, between whose terms something happens, until it is drained.

    Returns:
        The terms that were seen to lead.
    """
    await load_small_book(database, portfolios=1)
    monkeypatch.setattr(runner, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(runner, "_WATCH_SECONDS", 0.1)
    settings = Settings(actors=1)
    mover = Restless(Between(settings, between))
    terms: list[int] = []

    def watch() -> None:
        with runner.Runner(LocalHost(settings), url, settings, **options) as running:
            running.watch(lambda _: terms.append(running.progress()["term"]), mover)

    await asyncio.wait_for(asyncio.to_thread(watch), 60)
    assert mover.has_moved
    return terms


def in_a_loop(work: Callable[[Database], Awaitable[T]], url: str) -> T:
    async def with_database() -> T:
        async with await Database.open(url, connections=1) as database:
            return await work(database)

    return asyncio.run(with_database())


async def test_a_drain_between_the_terms_of_a_move_ends_the_watch(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    drained: list[Future[list[str | None]]] = []
    with ThreadPoolExecutor(1) as thread:

        async def drain_and_look(database: Database) -> list[str | None]:
            asked = await control.drain(database, seconds=30, lease_seconds=30)
            return [asked.holder, (await control.leader(database)).holder]

        def drain() -> None:
            drained.append(thread.submit(in_a_loop, drain_and_look, url))
            in_a_loop(lambda database: until(lambda: is_asked(database)), url)

        async def is_asked(database: Database) -> bool:
            [[asked]] = await fetch(database, "SELECT drain_term = term FROM scheduler_term")
            return bool(asked)

        await moved_once(url, database, drain, monkeypatch)
    asked, left = drained[0].result()
    assert asked is not None
    assert left is None
    [[holder, term]] = await fetch(database, "SELECT holder, term FROM scheduler_term")
    assert (holder, term) == (None, 2)


async def test_nobody_else_leads_between_the_terms_of_a_move(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival: list[Future[object]] = []
    with ThreadPoolExecutor(1) as thread:

        def compete() -> None:
            acquire = partial(Term.acquire, holder="rival", lease_seconds=30)
            rival.append(thread.submit(in_a_loop, acquire, url))
            rival[0].add_done_callback(
                lambda _: in_a_loop(partial(control.drain, seconds=30, lease_seconds=30), url)
            )

        terms = await moved_once(url, database, compete, monkeypatch)
    assert set(terms) == {1, 2}
    with pytest.raises(LeaderActiveError):
        rival[0].result()


async def test_a_signal_between_the_terms_of_a_move_gives_the_term_back(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_signalled = threading.Event()

    def check() -> None:
        if is_signalled.is_set():
            raise SeenEnough

    with pytest.raises(SeenEnough):
        await moved_once(url, database, is_signalled.set, monkeypatch, on_wait=check)
    [[holder, term]] = await fetch(database, "SELECT holder, term FROM scheduler_term")
    assert (holder, term <= 2) == (None, True)


async def test_a_signal_while_a_scheduler_ends_for_the_next_one_lets_it_end(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_small_book(database, portfolios=1)
    monkeypatch.setattr(runner, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(runner, "_WATCH_SECONDS", 0.1)
    settings = Settings(actors=1)
    run = runner.Runner(Interrupted(settings), url, settings)

    def watch() -> None:
        with run:
            run.watch(mover=Restless(LocalHost(settings)))

    with pytest.raises(SeenEnough):
        await asyncio.wait_for(asyncio.to_thread(watch), 60)
    assert run.ended_in_order
    assert (await control.leader(database)).holder is None


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
