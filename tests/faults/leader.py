"""A scheduler in a process of its own, without Ray: started again whenever it dies, in a tenth of
the time."""

import asyncio
import multiprocessing
from multiprocessing.context import ForkServerProcess

from revalue.engine import fault_injection
from tests.support import SETTINGS, engine

# Its imports are done once; what is forked has no threads yet.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support"])


def _lead(url: str, folder: str) -> None:
    fault_injection._FOLDER = folder
    asyncio.run(_run(url))


async def _run(url: str) -> None:
    settings = SETTINGS.model_copy(update={"task_rows": 20})
    async with engine(url, settings=settings, holder="leader") as running:
        await running.loop.run()


class Leader:
    """One that leads the database, and comes to the points that are armed in the folder."""

    def __init__(self, url: str, folder: str) -> None:
        self._arguments = (url, folder)
        self._process: ForkServerProcess | None = None
        self.deaths: list[int] = []

    def keep(self) -> None:
        """Starts it, or another in place of one that has died."""
        if self._process is not None and self._process.exitcode is not None:
            self.deaths.append(self._process.exitcode)
            self._process = None
        if self._process is None:
            self._process = _CONTEXT.Process(target=_lead, args=self._arguments)
            self._process.start()

    async def ended(self) -> int | None:
        """Waits until it ends by itself; returns its exit code."""
        assert self._process is not None
        await asyncio.to_thread(self._process.join, 60)
        return self._process.exitcode

    def end(self) -> None:
        """Kills it."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
