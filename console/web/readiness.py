"""Whether this server can answer. Probes ask without a token, so that has to cost little."""

import asyncio
import time

from revalue.engine import logs
from revalue.engine.errors import RevalueError
from revalue.engine.postgres import schema

_KEPT_SECONDS = 1.0

_log = logs.logger("web")


class Readiness:
    """Asks the database at most once at a time and once per second, however many probes come."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._is_ready = False

    async def is_ready(self) -> bool:
        """Whether the database responds and has the schema of this version, as of a second ago.

        Why not is logged when it begins. A caller without a token is not told: the reason names
        the server's address.
        """
        async with self._asking:
            now = time.monotonic()
            if self._asked_at is None or now - self._asked_at >= _KEPT_SECONDS:
                await self._ask()
                self._asked_at = time.monotonic()
            return self._is_ready

    async def _ask(self) -> None:
        try:
            await schema.require_head(self._url)
        except RevalueError as error:
            if self._is_ready or self._asked_at is None:
                _log.warning("not ready", reason=str(error))
            self._is_ready = False
        else:
            self._is_ready = True
