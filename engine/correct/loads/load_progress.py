"""How far a load is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class LoadProgress:
    """How far one step of a load is.

    Attributes:
        step: "reading", "checking", "writing" or "committing": until then nothing is written.
        rows: rows that were read or written in this step.
        fraction: how much of the step is done, from 0 to 1; None: it is not known.
        seconds: how long the step has taken.
    """

    step: str
    rows: int
    fraction: float | None
    seconds: float


OnProgress: TypeAlias = Callable[[LoadProgress], None]


class Progress:
    """Tells the progress of the steps of a load, a few times a second at most."""

    _PAUSE_SECONDS = 0.1

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._step, self._size = "", 0
        self._began = self._reported_at = 0.0

    def next(self, step: str, size: int) -> None:
        """Begin a step.

        Args:
            step: see LoadProgress.
            size: how much there is to do, in the unit of `at`.
        """
        self._step, self._size = step, size
        self._began = time.monotonic()
        self._tell(0, None)

    def at(self, done: int, rows: int) -> None:
        """Tell how far the step is.

        Args:
            done: how much of the size is done.
            rows: how many rows that is.
        """
        if time.monotonic() - self._reported_at >= self._PAUSE_SECONDS:
            self._tell(rows, done / self._size if self._size else None)

    def _tell(self, rows: int, fraction: float | None) -> None:
        self._reported_at = time.monotonic()
        if self._on_progress is not None:
            self._on_progress(
                LoadProgress(self._step, rows, fraction, self._reported_at - self._began)
            )
