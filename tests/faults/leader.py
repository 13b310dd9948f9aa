"""A scheduler in a process of its own, without Ray: it starts ten times as fast as on Ray."""

import asyncio
import multiprocessing
from multiprocessing.context import ForkServerProcess

from revalue.engine import fault_injection
from tests.support import SETTINGS, engine

# The fork server imports once, and has no threads when it forks.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support"])


def _lead(url: str, folder: str, task_rows: int) -> None:
    fault_injection._FOLDER = folder
    asyncio.run(_run(url, task_rows))


async def _run(url: str, task_rows: int) -> None:
    settings = SETTINGS.model_copy(update={"task_rows": task_rows})
    async with engine(url, settings=settings, holder="leader") as running:
        await running.loop.run()


class Leader:
    """A process that leads the database, and obeys the faults that are armed in the folder.

    Its valuers run in this process too: one that is stopped with it can hold locks on its jobs.

    Attributes:
        deaths: exit codes of the processes that have ended.
    """

    def __init__(self, url: str, folder: str, *, task_rows: int = 20) -> None:
        self._arguments = (url, folder, task_rows)
        self._process: ForkServerProcess | None = None
        self.deaths: list[int] = []

    def ensure_running(self) -> None:
        """Start the process, unless it runs."""
        if self._process is not None and self._process.exitcode is not None:
            self.deaths.append(self._process.exitcode)
            self._process = None
        if self._process is None:
            self._process = _CONTEXT.Process(target=_lead, args=self._arguments)
            self._process.start()

    async def wait_until_ended(self) -> int | None:
        """Wait until the process ends by itself; return its exit code."""
        assert self._process is not None
        await asyncio.to_thread(self._process.join, 60)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
