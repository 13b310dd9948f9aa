"""Locks of other database sessions that hold up the scheduler: whose they are, and since when.

A step that waits too long for a row gives up (REVALUE_LOCK_SECONDS). While the transaction that
holds the row is open, the step leaves what is locked, or is not tried again; everything else
continues.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, TypeVar

from revalue.actors.protocols import Steps
from revalue.engine import logs
from revalue.engine.errors import TransientError
from revalue.engine.postgres.blockers import Blocker

_log = logs.logger("scheduler")

_LOOK_SECONDS = 1.0
_MOST_NAMED = 3  # sessions, in `trouble`

Find = Callable[[], Awaitable[list[Blocker]]]
"""Finds who holds the locks that are the reason why something is left."""


class LeftBecause(NamedTuple):
    """Why something is left at present: what is locked, and what waits for it."""

    locked: str
    waiting: str


class LockWatch:
    """Finds out, once per second, who holds the locks that the scheduler waits for.

    Attributes:
        trouble: who holds up what, for operators; None: nobody holds up anything.
    """

    def __init__(
        self,
        steps: Steps,
        *,
        left: Callable[[], Mapping[LeftBecause, Find]],
        wake: Callable[[], None],
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        """Create a watch.

        Args:
            left: returns what is left at present because of locks, and how to find whose.
            wake: is called when a transaction that held up something has ended.
            tell: is called when `trouble` may have changed.
        """
        self._steps = steps
        self._left = left
        self._wake = wake
        self._tell = tell
        self._met: list[Blocker] = []  # by the steps that wait at present
        self._of_steps: dict[str, set[Blocker]] = {}  # that made a step give up
        self._of_left: dict[LeftBecause, set[Blocker]] = {}
        self.trouble: str | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(TransientError):  # the loop meets it too, and reports it
                await self.look()

    def gave_up(self, step: str) -> None:
        """Note that a step has given up; the sessions found while it waited hold it up."""
        self._of_steps.setdefault(step, set()).update(self._met)

    def holds_up(self, step: str) -> bool:
        """Whether a transaction that made the step give up is still open."""
        return bool(self._of_steps.get(step))

    def is_explained(self, because: LeftBecause) -> bool:
        """Whether the transaction that is the reason is known, and still open."""
        return bool(self._of_left.get(because))

    async def look(self) -> None:
        """Find out who holds up what at present."""
        self._met = self._steps.blockers()
        held_before = self._holders()
        if held_before:
            self._forget_all_but(await self._steps.still_open(held_before))
        left = self._left()
        for because in [each for each in self._of_left if each not in left]:
            del self._of_left[because]
        unknown = [each for each in left if each not in self._of_left]
        for because in unknown:
            if met := await left[because]():
                self._of_left[because] = set(met)
        await self._report()
        if held_before - self._holders() or any(each not in self._of_left for each in unknown):
            self._wake()

    def _holders(self) -> set[Blocker]:
        return set().union(*self._of_steps.values(), *self._of_left.values())

    def _forget_all_but(self, still: set[Blocker]) -> None:
        self._of_steps = _only(self._of_steps, still)
        self._of_left = _only(self._of_left, still)

    async def _report(self) -> None:
        found = self._descriptions()
        more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        trouble = "; ".join(found[:_MOST_NAMED]) + more if found else None
        if trouble and not self.trouble:
            _log.warning("held up by the locks of another database session", trouble=trouble)
        self.trouble = trouble
        await self._tell()

    def _descriptions(self) -> list[str]:
        waits: dict[tuple[str, Blocker], list[str]] = {}
        for because, blockers in self._of_left.items():
            for blocker in blockers:
                waits[because.locked, blocker] = [because.waiting]
        for step, blockers in [*sorted(self._of_steps.items()), ("", set(self._met))]:
            for blocker in blockers:
                rows = f"rows of {blocker.table or 'a table'} are locked"
                told = waits.setdefault((rows, blocker), [])
                if step or not told:
                    told.append(f"{step or 'a step'} waits")
        return [
            f"{what} by {blocker}: {', '.join(who)}, everything else continues. {blocker.advice}"
            for (what, blocker), who in waits.items()
        ]


_Key = TypeVar("_Key")


def _only(blockers: dict[_Key, set[Blocker]], still: set[Blocker]) -> dict[_Key, set[Blocker]]:
    return {key: found & still for key, found in blockers.items() if found & still}
