"""Arms the fault points of engine.faults, and tells when a fault has happened and to which
process."""

import asyncio
import time
from pathlib import Path

from revalue.engine import fault_injection


class Armory:
    """The folder that REVALUE_FAULTS names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def arm(self, point: str, action: str) -> None:
        """The next process that comes to the point does this, once."""
        assert point in fault_injection.POINTS
        assert action in fault_injection.ACTIONS
        (self.folder / f"{point}.{action}").touch()

    def victims(self, point: str, action: str) -> list[int]:
        """The processes that have done it."""
        return [int(path.suffix[1:]) for path in self.folder.glob(f"{point}.{action}.*")]

    def disarm(self) -> int:
        """Takes back what has not happened, and forgets what has; returns how many have."""
        taken = 0
        for path in self.folder.iterdir():
            taken += path.suffix[1:].isdigit()
            path.unlink()
        return taken

    async def happened(self, point: str, action: str, *, seconds: float = 60) -> int:
        """Waits until it has happened; returns the process."""
        end = time.monotonic() + seconds
        while not (found := self.victims(point, action)):
            assert time.monotonic() < end, f"{point} was never reached"
            await asyncio.sleep(0.01)
        return found[0]
