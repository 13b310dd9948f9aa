"""Locks of other database sessions that hold up the scheduler: whose they are, and since when.

A step that waits too long for a row gives up (REVALUE_LOCK_SECONDS). It is not tried again while
the transaction that holds the row is open; everything else continues.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial

from revalue.engine import logs
from revalue.engine.errors import TransientError
from revalue.engine.leadership.blocking import blockers_met_by, still_open
from revalue.engine.postgres.blockers import Blocker
from revalue.engine.postgres.database import Database
from revalue.engine.stage.stage import wait_for_calendars

_log = logs.logger("scheduler")

_LOOK_SECONDS = 1.0
_TOLD = 3  # so many sessions are named


class LockWatch:
    """Finds out, once per second, who holds the locks that the scheduler waits for.

    Attributes:
        trouble: who holds up what, for operators; None: nobody holds up anything.
    """

    def __init__(
        self,
        database: Database,
        *,
        locked_calendars: Callable[[], Collection[str]],
        wake: Callable[[], None],
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        """Create a watch.

        Args:
            locked_calendars: the calendars that the last scans found locked.
            wake: is called when a transaction that held up something has ended.
            tell: is called when `trouble` may have changed.
        """
        self._database = database
        self._locked_calendars = locked_calendars
        self._wake = wake
        self._tell = tell
        self._met: list[Blocker] = []  # by the steps that wait at present
        self._of_steps: dict[str, set[Blocker]] = {}  # that made a step give up
        self._of_calendars: dict[str, set[Blocker]] = {}
        self.trouble: str | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(TransientError):  # the loop meets it too, and reports it
                await self.look()

    def gave_up(self, step: str) -> None:
        """Note that a step has given up: it is held up by who was found while it waited."""
        self._of_steps.setdefault(step, set()).update(self._met)

    def holds_up(self, step: str) -> bool:
        """Whether a transaction that made the step give up is still open."""
        return bool(self._of_steps.get(step))

    async def look(self) -> None:
        """Find out who holds up what at present."""
        self._met = self._database.blockers()
        held_before = self._holders()
        if held_before:
            self._forget_all_but(await still_open(self._database, held_before))
        locked = self._locked_calendars()
        for calendar in [each for each in self._of_calendars if each not in locked]:
            del self._of_calendars[calendar]
        unknown = [each for each in locked if each not in self._of_calendars]
        for calendar in unknown:
            met = await blockers_met_by(
                self._database, partial(wait_for_calendars, calendars=[calendar])
            )
            if met:
                self._of_calendars[calendar] = set(met)
        await self._report()
        if held_before - self._holders() or any(each not in self._of_calendars for each in unknown):
            self._wake()

    def _holders(self) -> set[Blocker]:
        return set().union(*self._of_steps.values(), *self._of_calendars.values())

    def _forget_all_but(self, still: set[Blocker]) -> None:
        for held_up in (self._of_steps, self._of_calendars):
            for name, blockers in list(held_up.items()):
                held_up[name] = blockers & still
                if not held_up[name]:
                    del held_up[name]

    async def _report(self) -> None:
        found = self._descriptions()
        more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        trouble = "; ".join(found[:_TOLD]) + more if found else None
        if trouble and not self.trouble:
            _log.warning("held up by the locks of another database session", trouble=trouble)
        self.trouble = trouble
        await self._tell()

    def _descriptions(self) -> list[str]:
        waits: dict[tuple[str, Blocker], list[str]] = {}
        for calendar, blockers in sorted(self._of_calendars.items()):
            for blocker in blockers:
                waits[f"calendar {calendar} is locked", blocker] = ["its positions wait"]
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
