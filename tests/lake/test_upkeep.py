"""A scheduler maintains the lake by itself, when it has nothing else to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from revalue.actors.local import LocalWorker
from revalue.actors.scheduler import Scheduler
from revalue.actors.upkeep import Upkeep
from revalue.engine.correct.corrections import corrections
from revalue.engine.errors import AccessDeniedError
from revalue.engine.lake.check import check
from revalue.engine.lake.maintain import Maintained, OnStep, maintain
from revalue.engine.leadership import control
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from revalue.engine.value.valuer import ValuerOptions
from tests.faults.checks import assert_all_correct
from tests.lake.test_lake import in_lake
from tests.support import DAYS, engine, fetch, is_current, load_small_book, until

FILES = "SELECT count(*) FROM lake_files"
POSITIONS = 16


@asynccontextmanager
async def scheduler(url: str, settings: Settings) -> AsyncIterator[Scheduler]:
    """A scheduler as `revalue value --watch` has it, with actors that are threads."""

    def start(url: str, options: ValuerOptions, *, name: str, is_reserved: bool) -> LocalWorker:
        return LocalWorker(url, options, name=name)

    running = Scheduler(
        url, settings, actors=1, holder="upkeep", take_over=False, start_valuer=start
    )
    try:
        yield running
    finally:
        await running.drain()


async def files(database: Database) -> int:
    [[count]] = await fetch(database, FILES)
    return int(count)


async def test_the_lake_is_maintained_after_each_time_of_work(
    url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=POSITIONS // 2)
    settings = in_lake(str(tmp_path / "lake")).model_copy(update={"lake_maintenance_seconds": 0.1})
    async with scheduler(url, settings):
        await until(partial(is_current, database))
        assert keeps_lake()
        await until(lambda: _is_merged(database))
        for number in range(8):  # so many small files of the newest month are merged
            await corrections.price(database, "A", DAYS[number], Decimal(60 + number))
            await until(partial(is_current, database))
        await until(lambda: _is_merged(database))
    assert await assert_all_correct(database) == POSITIONS * len(DAYS)
    assert (await check(database)).is_sound


def keeps_lake() -> bool:
    return any("_keep_lake" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def _is_merged(database: Database) -> bool:
    return await files(database) < 8


async def test_zero_seconds_are_never(url: str, database: Database, tmp_path: Path) -> None:
    await load_small_book(database, portfolios=POSITIONS // 2)
    settings = in_lake(str(tmp_path / "lake")).model_copy(update={"lake_maintenance_seconds": 0})
    async with scheduler(url, settings):
        await until(partial(is_current, database))
        assert not keeps_lake()
    assert await files(database) >= 8


async def test_work_ends_it_after_a_step(url: str, database: Database, tmp_path: Path) -> None:
    """And it begins again when the work is done."""
    await load_small_book(database, portfolios=POSITIONS // 2)
    ends: list[str] = []
    async with engine(url, settings=in_lake(str(tmp_path / "lake"))) as running:
        await running.settle()

        async def maintained(on_step: OnStep) -> Maintained:
            steps = 0

            def told(done: Maintained) -> None:
                nonlocal steps
                steps += 1
                running.loop.progress.idle = bool(ends)  # False: as after a turn with work
                on_step(done)

            try:
                done = await maintain(database, on_step=told)
            except BaseException as error:
                ends.append(f"{type(error).__name__} after {steps}")
                running.loop.progress.idle = False
                raise
            ends.append("the end")
            return done

        keeping = asyncio.create_task(Upkeep(running.loop, maintained, rest_seconds=0.01).run())
        await until(lambda: bool(ends))
        assert ends == ["_WorkCameError after 1"]
        await running.settle()
        await until(lambda: len(ends) == 2)
        for _ in range(3):
            await running.settle()  # nothing is done, so nothing is maintained
        keeping.cancel()
    assert ends[1:] == ["the end"]


async def test_not_while_an_operator_has_paused_it(
    url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(str(tmp_path / "lake"))) as running:
        await running.settle()
        assert running.loop.is_resting()
        await control.pause(database, "a test")
        await running.settle()
        assert (running.loop.progress.idle, running.loop.is_resting()) == (True, False)
        await control.resume(database)
        await running.settle()
        assert running.loop.is_resting()


async def test_who_may_not_is_told_once(
    url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(_: OnStep) -> Maintained:
        raise AccessDeniedError("to maintain the lake is for the owner of the tables")

    async with engine(url) as running:
        await running.settle()
        await asyncio.wait_for(Upkeep(running.loop, refused, rest_seconds=0).run(), 30)
    assert "not maintained by itself" in caplog.text


async def test_no_error_ends_it_for_good(
    url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = 0

    async def fails(_: OnStep) -> Maintained:
        nonlocal rounds
        rounds += 1
        raise MemoryError

    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await running.settle()
        keeping = asyncio.create_task(Upkeep(running.loop, fails, rest_seconds=0).run())
        await until(lambda: rounds == 1)
        running.loop.progress.idle = False  # as after a turn with work
        await running.settle()
        await until(lambda: rounds == 2, work=keeping)
        keeping.cancel()
    assert "could not be maintained" in caplog.text
