"""Maintenance of the lake: other files, the same answers, whatever happens meanwhile."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from revalue.engine.correct.corrections import corrections
from revalue.engine.errors import DatabaseSetupError, NotFoundError, WriteConflictError
from revalue.engine.fault_injection import MAINTENANCE_POINTS
from revalue.engine.lake.check import check, sweep
from revalue.engine.lake.maintain import Maintained, maintain
from revalue.engine.operate.prune import prune
from revalue.engine.postgres.database import Database
from revalue.engine.read.frames import valuations
from tests.faults.checks import assert_all_correct
from tests.integration.test_prune import changes, everything, live, moments
from tests.lake.test_lake import in_lake
from tests.support import DAYS, engine, execute, fetch, load_small_book

FILES = "SELECT count(*) FROM lake_files"
SHAPE = "SELECT count(*), count(DISTINCT lower(dates)) FROM lake_files"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


async def told(database: Database, times: list[datetime]) -> list[Any]:
    """Everything that readers of both stores are told; SQL alone does not see the files."""
    answers = await everything(database, times)
    for questions in answers.values():
        questions.pop("numbers", None)
    return [answers, await changes(database)]


@pytest.fixture
async def lived(url: str, database: Database, lake: str) -> Database:
    """A book that has lived, with files and with rows in PostgreSQL."""
    async with engine(url, settings=in_lake(lake, least_rows=5)) as running:
        await live(database, running)
        await running.settle()
        await running.term.release()
    return database


async def test_answers_stay_the_same(lived: Database) -> None:
    """About every time; after it there is one file for each month, and only the last month's rows
    are in PostgreSQL."""
    times = await moments(lived)
    before = await told(lived, times)
    [[files]] = await fetch(lived, FILES)
    seen: list[int] = []
    done = await maintain(
        lived, least_moved=1, on_step=lambda so_far: seen.append(so_far.files_made)
    )
    assert (done.files_merged >= files > 5, done.rows_moved > 5, done.rows_dropped) == (
        True, True, 0,
    )  # fmt: skip
    assert await fetch(lived, FILES) == [(1,)]  # all of them are of January
    assert len(seen) > 1
    assert await told(lived, times) == before
    assert (await check(lived)).is_sound
    again = await maintain(lived, least_moved=1)
    assert again == Maintained()


async def test_each_step_can_be_the_last(lived: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies at each of its points in turn; answers are the same each time, and at the end."""
    times = await moments(lived)

    async def numbers() -> list[Any]:
        some = (times[len(times) // 2], None)
        return [(await valuations(lived, known_at=at)).rows() for at in some]

    before, deaths = await numbers(), 0
    for at in range(3):
        for point in MAINTENANCE_POINTS:
            _die_at(monkeypatch, point, at)
            with suppress(_Died):
                await maintain(lived, least_moved=1, merged_rows=20)
                deaths -= 1
            deaths += 1
            assert await numbers() == before, (point, at)
    assert deaths > 0
    monkeypatch.undo()
    await maintain(lived, least_moved=1)
    assert await numbers() == before
    found = await check(lived)
    assert (found.is_sound, len(found.orphans) >= deaths) == (True, True)


@pytest.mark.parametrize("is_merged", [False, True])
async def test_what_was_pruned_is_dropped(lived: Database, is_merged: bool) -> None:
    times = await moments(lived)
    floor = times[len(times) // 2]
    later = [at for at in times if at >= floor]
    before = await told(lived, later)
    if is_merged:  # a month that is one file already
        assert (await maintain(lived, least_moved=1)).rows_dropped == 0
    await prune(lived, before=floor)
    pruned = await changes(lived)
    done = await maintain(lived, least_moved=1)
    assert done.rows_dropped > 0
    assert (await told(lived, later))[0] == before[0]
    assert await changes(lived) == pruned
    assert await maintain(lived, least_moved=1) == Maintained()
    assert (await check(lived)).is_sound


async def test_a_scheduler_works_meanwhile(url: str, database: Database, lake: str) -> None:
    await load_small_book(database, portfolios=3)
    async with engine(url, settings=in_lake(lake, least_rows=5)) as running:
        await running.settle()
        stop = asyncio.Event()

        async def keep() -> int:
            rounds = 0
            while not stop.is_set():
                await maintain(database, least_moved=1, merged_rows=50)
                rounds += 1
            return rounds

        keeping = asyncio.create_task(keep())
        for number in range(8):
            price = Decimal(f"{40 + number}")
            await corrections.price(database, "A", DAYS[number], price)
            await corrections.rate(
                database, "EUR", "USD", DAYS[number], 1 + Decimal(number + 1) / 100
            )
            await running.settle()
        stop.set()
        assert await keeping > 1
        assert await assert_all_correct(database) == 6 * len(DAYS)
    assert (await check(database)).is_sound


async def test_replaced_files_are_deleted_when_nobody_reads_them(lived: Database) -> None:
    young = {file.path for file in (await check(lived)).orphans}  # of a fenced attempt
    await maintain(lived, least_moved=1)
    day = timedelta(days=1)
    assert await sweep(lived, older_than=day) == []
    await execute(lived, "UPDATE lake_unused SET since = since - interval '25 hours'")
    unused = await fetch(lived, "SELECT path FROM lake_unused ORDER BY path")
    swept = await sweep(lived, older_than=day)
    assert [(file.path,) for file in swept] == unused
    assert await fetch(lived, "SELECT path FROM lake_unused") == []
    assert {file.path for file in (await check(lived)).orphans} == young
    await valuations(lived)


async def test_one_at_a_time_and_of_its_own_lake(lived: Database, url: str) -> None:
    async with await Database.open(url, connections=1) as other, other.transaction() as held:
        await held.execute("SELECT pg_advisory_xact_lock(hashtext('revalue lake maintain'))")
        with pytest.raises(WriteConflictError, match="another maintenance"):
            await maintain(lived, least_moved=1)
    await execute(lived, "UPDATE lake SET owner = 'another'")
    with pytest.raises(DatabaseSetupError, match="copy"):
        await maintain(lived)


async def test_without_a_lake(database: Database) -> None:
    with pytest.raises(NotFoundError):
        await maintain(database)


class _Died(Exception):
    pass


def _die_at(monkeypatch: pytest.MonkeyPatch, point: str, at: int) -> None:
    left = iter(range(at))

    def die(reached: str) -> None:
        if reached == point and next(left, None) is None:
            raise _Died

    monkeypatch.setattr("revalue.engine.lake.maintain.fault_point", die)
