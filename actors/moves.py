"""Where a watched scheduler runs: in this process, and on a local Ray while there is much to do.

Nothing of Ray is imported before a watch goes there.
"""

import time
from collections.abc import Callable
from typing import Any

from revalue.actors.choice import host_of
from revalue.actors.protocols import Host
from revalue.engine import logs
from revalue.engine.settings import Settings

MUCH_POSITION_DAYS = 500_000
"""So many are valued in this process without a rest, before a Ray is started for those left."""

REST_SECONDS = 300.0
"""A Ray that has had nothing to do for so long is ended."""

_PLACES = {"ray": "on Ray", "local": "in this process, without Ray"}

_log = logs.logger("runtime")


class Moves:
    """Decides when a watch moves, by the progress that it sees. See actors.protocols.Mover.

    To start a Ray takes several seconds, and it costs CPU even when idle; one process has only
    enough threads for little work. Each move ends one scheduler in order and starts another one
    under the next term, as two commands one after another would.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        much: int = MUCH_POSITION_DAYS,
        rest_seconds: float = REST_SECONDS,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create it.

        Args:
            much: position-days.
            tell: called with where the watch continues, and why.
        """
        self._settings = settings
        self._much = much
        self._rest_seconds = rest_seconds
        self._tell = tell
        self._written_at_rest = 0
        self._seen: tuple[Any, ...] = ()
        self._seen_at = time.monotonic()
        self._may_move = True

    def next(self, runtime: str, progress: dict[str, Any]) -> Host | None:
        if not self._may_move:
            return None
        if runtime == "local":
            return self._next_from_here(progress)
        return self._next_from_ray(progress)

    def refused(self, runtime: str, why: str) -> None:
        self._may_move = False
        self._tell(f"{_PLACES[runtime]}: {why}")
        _log.warning("the watch stays where it is", runtime=runtime, trouble=why)

    def _next_from_here(self, progress: dict[str, Any]) -> Host | None:
        written = progress["rows_written"]
        if progress["idle"]:
            self._written_at_rest = written
        if written - self._written_at_rest < self._much:
            return None
        return self._go("ray", f"{self._much:,} position-days are valued, and more are due")

    def _next_from_ray(self, progress: dict[str, Any]) -> Host | None:
        is_resting = progress["idle"] and not progress["paused"] and progress["trouble"] is None
        seen = (is_resting, progress["rows_written"], progress["spans_finished"])
        now = time.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        if not is_resting or now - self._seen_at < self._rest_seconds:
            return None
        return self._go("local", f"nothing was to be done for {self._rest_seconds:g} s")

    def _go(self, runtime: str, reason: str) -> Host:
        self._written_at_rest, self._seen = 0, ()
        self._tell(f"{_PLACES[runtime]}: {reason}")
        _log.info("the watch moves", runtime=runtime, reason=reason)
        return host_of(runtime, self._settings)
