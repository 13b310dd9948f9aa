"""Pauses between failing attempts: doubled each time up to a limit, jittered to spread retries."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from revalue.actors.concurrency import now
from revalue.engine import logs
from revalue.engine.errors import OutageError, TransientError

_T = TypeVar("_T")
_log = logs.logger("backoff")


class Backoff:
    """The pauses between attempts of one operation.

    Attributes:
        failures: how many attempts have failed since the last success.
    """

    def __init__(self, first_seconds: float = 0.2, max_seconds: float = 10.0) -> None:
        self._first = first_seconds
        self._max = max_seconds
        self.failures = 0

    def reset(self) -> None:
        """Start again with the first pause, after a success."""
        self.failures = 0

    def next_seconds(self) -> float:
        """Count a failure; return how long to wait: the mean pause times a factor of 0.5 to 1.5."""
        seconds = min(self._first * 2.0 ** min(self.failures, 30), self._max)
        self.failures += 1
        return seconds * (0.5 + random.random())

    async def pause(self) -> None:
        """Count a failure, and wait."""
        await asyncio.sleep(self.next_seconds())


async def retry_transient(
    work: Callable[[], Awaitable[_T]],
    tell: Callable[[str | None], None] = lambda trouble: None,
    *,
    seconds: float,
) -> _T:
    """Return the result of `work`, retried after each TransientError. Warns once.

    Args:
        tell: called with what the work waits for, and with None at the end.
        seconds: how long to try.

    Raises:
        OutageError: it has not succeeded for longer.
    """
    backoff, begun = Backoff(), now()
    while True:
        try:
            result = await work()
        except TransientError as error:
            if not backoff.failures:
                _log.warning("retrying until it succeeds", trouble=str(error))
            tell(str(error))
            require_within(seconds, now() - begun, error)
            await backoff.pause()
        else:
            tell(None)
            return result


def require_within(most_seconds: float, seconds: float, error: TransientError | str) -> None:
    """Raise OutageError if something has been tried for longer than it may.

    Args:
        most_seconds: REVALUE_OUTAGE_SECONDS. seconds: how long it has failed. error: how it fails.
    """
    if seconds > most_seconds:
        raise OutageError(
            f"it has ended after {seconds:,.0f} s of trying again (REVALUE_OUTAGE_SECONDS): {error}"
        )
