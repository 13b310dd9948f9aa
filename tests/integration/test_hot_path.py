"""No Python object per row or job: the number of Python calls does not grow with either."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from revalue.benchmarks.dataset import make_book
from revalue.engine.postgres.database import Database
from tests.conftest import drop_database, fresh_database
from tests.support import SETTINGS, engine, fetch


async def calls(server_url: str, template: str, positions: int) -> tuple[int, int]:
    """Python calls from scan to apply, in all threads, and rows written."""
    url = await fresh_database(server_url, template)
    async with await Database.open(url) as database:
        await make_book(database, positions=positions, dates=20)
        async with engine(
            url, settings=SETTINGS.model_copy(update={"task_rows": 1_000_000}), workers=1
        ) as running:
            counted = 0

            def count(frame: Any, event: str, argument: Any) -> None:
                nonlocal counted
                counted += event == "call"

            # Only threads that begin now are counted; scans and reads run in the executor's.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
            threading.setprofile(count)
            sys.setprofile(count)
            try:
                await running.settle()
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
            assert len(running.pool.ran) == 1, "both sizes are one task"
        rows = (await fetch(database, "SELECT count(*) FROM daily_position_snapshots"))[0][0]
    await drop_database(server_url, url)
    return counted, rows


async def test_calls_do_not_follow_positions_jobs_or_rows(server_url: str, template: str) -> None:
    await calls(server_url, template, 50)  # imports and caches
    few, rows = await calls(server_url, template, 200)
    many, more_rows = await calls(server_url, template, 3_200)
    assert (rows, more_rows) == (4_000, 64_000)
    assert many < few + 3_000, f"{few} calls for 200 jobs, {many} for 3,200"
    await asyncio.sleep(0)
