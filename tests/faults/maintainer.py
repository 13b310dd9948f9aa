"""python -m tests.faults.maintainer ADDRESS: one maintenance of a lake, of small files too.

The campaign runs it again and again, and kills it at its fault points.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from revalue.engine.errors import NotFoundError, TransientError
from revalue.engine.fault_injection import MAINTENANCE_POINTS
from revalue.engine.lake.maintain import maintain
from revalue.engine.postgres.database import Database
from tests.faults.armory import Armory

_BUSY = 75
_PAUSE_SECONDS = 1.0


class Maintainer:
    """Maintains the lake all the time, each time in a process of its own.

    Attributes:
        ended: how often it ended with each exit code; -9: it was killed.
    """

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.ended: dict[int, int] = {}
        self._url = url
        self._armory = Armory(folder)
        self._random = random.Random(seed)

    async def run(self, stop: asyncio.Event) -> None:
        """Maintain until `stop` is set."""
        while not stop.is_set():
            self._armory.disarm()
            if self._random.random() < 0.5:
                self._armory.arm(self._random.choice(MAINTENANCE_POINTS), "KILL")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.maintainer", self._url),
                env={**os.environ, "REVALUE_FAULTS": str(self._armory.folder)},
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await process.communicate()
            code = process.returncode or 0
            assert code in (0, _BUSY, -9), said.decode()
            self.ended[code] = self.ended.get(code, 0) + 1
            await asyncio.sleep(_PAUSE_SECONDS)


async def _maintain(url: str) -> None:
    async with await Database.open(url, connections=1) as database:
        await maintain(database, least_moved=1, merged_rows=300)


if __name__ == "__main__":
    try:
        asyncio.run(_maintain(sys.argv[1]))
    except NotFoundError:
        sys.exit(0)  # nothing was valued yet
    except (TransientError, OSError):
        sys.exit(_BUSY)
