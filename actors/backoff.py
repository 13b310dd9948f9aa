"""Pauses between attempts that fail: doubled each time up to a limit, and jittered, so that many do not come back at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from revalue.engine import logs
from revalue.engine.errors import TransientError

_T = TypeVar("_T")
_log = logs.logger("backoff")


class Backoff:
    """The pauses of one thing that is tried again and again."""

    def __init__(self, first_seconds: float = 0.2, most_seconds: float = 10.0) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self.failures = 0

    def reset(self) -> None:
        """It succeeded: the next pause is the first one again."""
        self.failures = 0

    async def pause(self) -> None:
        """Waits after one more failure."""
        seconds = min(self._first * 2 ** min(self.failures, 30), self._most)
        self.failures += 1
        await asyncio.sleep(seconds * (0.5 + random.random()))


async def retry_transient(work: Callable[[], Awaitable[_T]]) -> _T:
    """The result of `work`, which is begun anew after each TransientError. One warning, however often."""
    backoff = Backoff()
    while True:
        try:
            return await work()
        except TransientError as error:
            if not backoff.failures:
                _log.warning("trying again until it succeeds", trouble=str(error))
            await backoff.pause()
