"""What runs the engine: Ray, or this process.

A runtime is found by name among installed entry points, so that the engine does not know Ray.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol, TypeAlias

from revalue.engine.errors import UsageError
from revalue.engine.operate.status import Status
from revalue.engine.settings import Settings

GROUP = "revalue.runtime"


@dataclass(frozen=True)
class Run:
    """What one run did, and the state of the positions after it.

    seconds: from the scheduler's start to the last position's watermark.
    rows_written: committed position-days.
    spans_finished: spans of jobs that were finished: a job has one for each of its positions.
    positions_invalidated: how often a correction raised a position's epoch.
    tasks_lost: attempts abandoned because their actor was lost; another did their jobs.
    spans_fenced: spans that such an attempt, or one of an older epoch, was not allowed to finish.
    runtime: the name of the runtime that ran it.
    """

    seconds: float
    rows_written: int
    spans_finished: int
    positions_invalidated: int
    tasks_lost: int
    spans_fenced: int
    status: Status
    runtime: str

    @property
    def rows_per_second(self) -> float:
        """Committed rows per second, over the whole run."""
        return self.rows_written / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    seconds: since its start.
    rows_written: committed position-days.
    spans_finished: as in Run.
    positions_invalidated: how often a correction raised a position's epoch.
    idle: nothing is left to do now.
    paused: an operator has paused the engine.
    trouble: what the run waits for, for example an unavailable database; None: nothing.
    position_days_left: about how many position-days are still to be written; None: it is not known,
        as in the first second.
    """

    seconds: float
    rows_written: int
    spans_finished: int
    positions_invalidated: int
    tasks_in_flight: int
    idle: bool
    paused: bool
    trouble: str | None
    position_days_left: int | None = None


OnProgress: TypeAlias = Callable[[RunProgress], None]


class Runtime(Protocol):
    """Runs the engine on a database until nothing is left that can be done."""

    def __call__(
        self, url: str, settings: Settings, *, on_progress: OnProgress | None = None
    ) -> Run:
        """Block until the run is over. Call it where no event loop runs.

        Args:
            on_progress: called in this thread, several times per second.
        """


def runtime(name: str = "auto") -> Runtime:
    """Return the runtime of that name.

    Raises:
        UsageError: no runtime of that name is installed.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UsageError(
            f"no runtime {name!r} is installed (entry points of {GROUP}): install the package "
            "`revalue` again"
        )
    loaded: Runtime = next(iter(found)).load()
    return loaded
