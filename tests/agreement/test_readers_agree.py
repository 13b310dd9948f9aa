"""Every reader tells the numbers of docs/valuation.md, and all tell the same.

A small random book is loaded, corrected in every way, and valued, step by step, with a lake and
without. AGREEMENT_SEEDS and AGREEMENT_STEPS make more and longer histories.
"""

import os
from pathlib import Path

import pytest

from revalue.engine.book.book import connect
from revalue.engine.errors import RevalueError
from revalue.engine.postgres.database import Database
from tests.agreement.steps import change, load_book
from tests.agreement.world import World
from tests.conftest import drop_database, fresh_database
from tests.support import SETTINGS, engine
from tests.web.test_api import client

pytestmark = pytest.mark.slow

SEEDS = [int(seed) for seed in os.environ.get("AGREEMENT_SEEDS", "2").split()]
STEPS = int(os.environ.get("AGREEMENT_STEPS", "2"))


@pytest.mark.parametrize("has_lake", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_all_readers_tell_the_numbers_of_the_page(
    server_url: str, template: str, tmp_path: Path, seed: int, has_lake: bool
) -> None:
    url = await fresh_database(server_url, template)
    settings = SETTINGS
    if has_lake:
        settings = settings.model_copy(
            update={"lake": str(tmp_path / "lake"), "lake_task_rows": 1, "task_rows": 40}
        )
    happened: list[str] = []
    try:
        async with (
            await Database.open(url) as database,
            engine(url, settings=settings) as running,
            client(url) as web,
        ):
            with connect(url) as book:
                world = World(seed, database, running, book, web, tmp_path, has_lake)
                await load_book(database, world.draw)
                await world.settle()
                await world.check()
                for step in range(STEPS):
                    try:
                        happened.append(await change(world))
                    except RevalueError as error:
                        happened.append(f"refused: {error}")
                        world.promised = None
                    await world.check_partway()
                    await world.settle()
                    await world.check(is_last=step == STEPS - 1)
    except BaseException as error:
        error.add_note("\n".join(happened))
        raise
    finally:
        await drop_database(server_url, url)
