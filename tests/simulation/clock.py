"""An event loop whose clock is simulated: it jumps to the next timer when nothing is ready."""

import asyncio
from asyncio import base_events
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_MAX_ROUNDS_AT_ONE_TIME = 100_000


class NothingWillHappenError(AssertionError):
    """Everything waits, and no timer is set: the simulated processes would hang for ever."""


class BusyLoopError(AssertionError):
    """Something goes on and on while no time passes."""


class _Selector:
    """Stands where the event loop waits for input and output, of which there is none here."""

    def __init__(self, loop: "SimulatedEventLoop") -> None:
        self._loop = loop
        self._rounds = 0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingWillHappenError("nothing is ready and no timer is set")
        self._rounds = 0 if timeout > 0 else self._rounds + 1
        if self._rounds > _MAX_ROUNDS_AT_ONE_TIME:
            raise BusyLoopError(f"no time has passed in {self._rounds} rounds")
        self._loop.seconds += max(timeout, 0)
        return []


class SimulatedEventLoop(base_events.BaseEventLoop):
    """Runs coroutines in simulated time.

    Attributes:
        seconds: the simulated time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1_000.0
        self._selector = _Selector(self)
        self.errors: list[BaseException] = []
        self.set_exception_handler(self._keep_error)

    def time(self) -> float:
        return self.seconds

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing: there is no input and output."""

    def _write_to_self(self) -> None:
        """Nothing: no other thread wakes this loop."""

    def _keep_error(self, loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self.errors.append(error)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` in simulated time.

    Raises:
        NothingWillHappenError, BusyLoopError: the simulated processes hang.
        Exception: raised in a callback of the loop, where nobody else would see it.
    """
    loop = SimulatedEventLoop()
    asyncio.set_event_loop(loop)
    try:
        try:
            result = loop.run_until_complete(main)
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        if loop.errors:
            raise loop.errors[0]
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()
