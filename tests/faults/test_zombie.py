"""A valuing process is stopped and abandoned, and resumes when another has done its work.

Its result is fenced, and its jobs are counted.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from revalue.actors.protocols import TaskLostError
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.operate.database_metrics import DatabaseCollector
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory
from tests.faults.checks import assert_all_correct
from tests.support import DAYS, engine, load_small_book

VALUE_ONE_TASK = """
import asyncio, sys
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.value.valuer import Valuer, ValuerOptions

async def main(url, *numbers):
    valuer = await Valuer.open(url, ValuerOptions(max_attempts=3))
    result = await valuer.run(Task(*map(int, numbers), Lane.HISTORY))
    print(result.spans, result.rows, result.fenced)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_that_resumes_after_its_work_was_reassigned_writes_nothing_and_is_counted(
    url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=2)
    armory = Armory(tmp_path)
    armory.arm("value.computed", "STOP")
    sleepers: list[asyncio.subprocess.Process] = []
    async with engine(url) as running:
        real = running.pool.run

        async def run(task: Task, taken: Callable[[], None]) -> TaskResult:
            taken()
            if sleepers:
                return await real(task)
            numbers = map(str, (*task.parameters.values(), task.spans, task.rows))
            environment = {**os.environ, "REVALUE_FAULTS": str(tmp_path)}
            command = (sys.executable, "-c", VALUE_ONE_TASK, url, *numbers)
            sleepers.append(
                await asyncio.create_subprocess_exec(
                    *command, env=environment, stdout=asyncio.subprocess.PIPE
                )
            )
            await armory.wait_for_victim("value.computed", "STOP")
            raise TaskLostError("the process is stopped")

        running.pool.run = run  # type: ignore[method-assign]
        await running.settle()
    assert await assert_all_correct(database) == 4 * len(DAYS)
    (sleeper,) = sleepers
    sleeper.send_signal(signal.SIGCONT)
    output, _ = await asyncio.wait_for(sleeper.communicate(), 60)
    assert output.decode().split() == ["4", "0", "4"], (
        "four jobs computed, no row written, four fenced"
    )
    assert (await read_status(database)).zombie_jobs_fenced == 4
    metrics = await asyncio.to_thread(lambda: list(DatabaseCollector(url).collect()))
    assert {
        metric.name: metric.samples[0].value for metric in metrics if "zombie" in metric.name
    } == {"revalue_zombie_jobs_fenced": 4}
    assert await assert_all_correct(database) == 4 * len(DAYS)
