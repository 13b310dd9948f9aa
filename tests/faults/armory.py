"""Arms the fault points of engine.fault_injection, and reports which process a fault has hit."""

import asyncio
import time
from pathlib import Path

from revalue.engine import fault_injection


class Armory:
    """The folder that REVALUE_FAULTS names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def arm(self, point: str, action: str) -> None:
        """Let the next process that reaches the point perform the action, once."""
        assert point in (*fault_injection.POINTS, *fault_injection.MAINTENANCE_POINTS)
        assert action in fault_injection.ACTIONS
        (self.folder / f"{point}.{action}").touch()

    def victims(self, point: str, action: str) -> list[int]:
        """Return the ids of the processes that have performed it."""
        return [int(path.suffix[1:]) for path in self.folder.glob(f"{point}.{action}.*")]

    def disarm(self) -> int:
        """Remove all faults, armed or past; return how many had happened."""
        happened = 0
        for path in self.folder.iterdir():
            happened += path.suffix[1:].isdigit()
            path.unlink()
        return happened

    async def wait_for_victim(self, point: str, action: str, *, seconds: float = 60) -> int:
        """Wait until a process has performed it; return its id."""
        end = time.monotonic() + seconds
        while not (found := self.victims(point, action)):
            assert time.monotonic() < end, f"{point} was never reached"
            await asyncio.sleep(0.01)
        return found[0]
