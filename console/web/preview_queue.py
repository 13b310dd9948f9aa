"""Previews in the background: one runs at a time, a few wait, and results are kept for a while.

A preview can take longer than a client or a proxy waits for a response. Previews live in the memory
of this process: a preview that is lost is asked for again.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from revalue.console.web.problems import is_failure
from revalue.engine import logs
from revalue.engine.errors import RevalueError
from revalue.engine.preview.preview import OnProgress

State = Literal["QUEUED", "RUNNING", "COMPLETE", "FAILED", "CANCELLED"]
Work = Callable[[OnProgress], Awaitable[str]]
"""Makes a preview, tells its progress, and returns it as JSON text."""

_log = logs.logger("web")

MAX_KEPT = 20
"""The largest number of results that are kept; the oldest is forgotten first."""


@dataclass(eq=False)
class PreviewTask:
    """One preview.

    Attributes:
        preview_id: cannot be guessed: who has it may read the result.
        created_at: when it was queued.
        state: where it is.
        position_days_valued: how many position-days are valued.
        position_days: how many will be; None: it is not planned yet.
        expires_at: when its result is forgotten; None: it has none yet.
        result: the JSON text of what was previewed, when it is COMPLETE.
        error: what ended it, when it is FAILED.
    """

    preview_id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    state: State = "QUEUED"
    position_days_valued: int = 0
    position_days: int | None = None
    expires_at: datetime | None = None
    result: str | None = None
    error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state not in ("QUEUED", "RUNNING")


class PreviewQueue:
    """The previews of one server."""

    def __init__(self, *, max_waiting: int, keep_seconds: float) -> None:
        """Begin without previews.

        Args:
            max_waiting: how many previews may wait for the one that runs.
            keep_seconds: how long a result is kept.
        """
        self.max_waiting = max_waiting
        self._keep = timedelta(seconds=keep_seconds)
        self._turn = asyncio.Lock()
        self._previews: dict[str, tuple[PreviewTask, asyncio.Task[None]]] = {}

    @property
    def is_full(self) -> bool:
        """Whether no further preview may be queued."""
        return sum(not task.is_over for task, _ in self._previews.values()) > self.max_waiting

    def submit(self, work: Work) -> PreviewTask:
        """Queue a preview.

        Args:
            work: makes it; called with what is to be told of its progress.
        """
        self._forget_old()
        task = PreviewTask()
        running = asyncio.create_task(self._run(task, work))
        self._previews[task.preview_id] = (task, running)
        return task

    def get(self, preview_id: str) -> PreviewTask | None:
        """Return a preview; None: there is none, or not any more."""
        self._forget_old()
        found = self._previews.get(preview_id)
        return found and found[0]

    async def wait(self, task: PreviewTask, seconds: float | None) -> None:
        """Wait until a preview is over, for at most some time; None: as long as it takes."""
        _, running = self._previews[task.preview_id]
        await asyncio.wait({running}, timeout=seconds)

    async def drop(self, task: PreviewTask) -> None:
        """Cancel a preview if it is not over, and forget it."""
        _, running = self._previews.pop(task.preview_id)
        if not task.is_over:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            task.state = "CANCELLED"

    async def close(self) -> None:
        """Cancel and forget all previews."""
        for task, _ in list(self._previews.values()):
            await self.drop(task)

    async def _run(self, task: PreviewTask, work: Work) -> None:
        def tell(valued: int, of_all: int) -> None:
            task.position_days_valued, task.position_days = valued, of_all

        async with self._turn:
            task.state = "RUNNING"
            try:
                task.result = await work(tell)
                task.state = "COMPLETE"
            except BaseException as error:
                if not is_failure(error):
                    raise
                if not isinstance(error, RevalueError):
                    _log.error("preview failed", preview=task.preview_id, exc_info=True)
                task.error = error
                task.state = "FAILED"
        task.expires_at = datetime.now(UTC) + self._keep

    def _forget_old(self) -> None:
        now = datetime.now(UTC)
        over = [task for task, _ in self._previews.values() if task.is_over]
        too_many = over[: max(0, len(over) - MAX_KEPT)]
        for task in over:
            if task in too_many or (task.expires_at is not None and task.expires_at < now):
                del self._previews[task.preview_id]
