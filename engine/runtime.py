"""The port to whatever runs the engine: it is found by name among installed entry points, so that engine does not know Ray."""

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from engine.errors import UsageError
from engine.settings import Settings
from engine.store import reports

GROUP = "revalue.runtime"


@dataclass(frozen=True)
class Run:
    """One run: what it did and where the keys stand after it."""

    seconds: float
    rows_written: int
    jobs_finished: int
    keys_raised: int
    tasks_lost: int
    jobs_fenced: int
    status: reports.Status

    @property
    def rows_per_second(self) -> float:
        """Committed rows a second, from the scheduler's start to the last key's watermark."""
        return self.rows_written / self.seconds if self.seconds else 0.0


class Runtime(Protocol):
    """Runs the engine on a database until nothing is left that can be done."""

    def __call__(self, url: str, settings: Settings, *, show: bool) -> Run:
        """Blocks; `show`: progress on standard error. Must be called where no event loop runs."""


def runtime(name: str = "ray") -> Runtime:
    """The runtime of that name. Raises UsageError when none is installed."""
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UsageError(f"no runtime {name!r} is installed (entry points of {GROUP}): install the package `revalue` anew")
    loaded: Runtime = next(iter(found)).load()
    return loaded
