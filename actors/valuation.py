"""The valuation actor: a process of its own that values one task after the other."""

import asyncio

from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.value.valuer import Valuer


class ValuationActor:
    """A plain class that actors.pool makes an actor of."""

    def __init__(self, url: str, max_attempts: int, name: str) -> None:
        self._url = url
        self._max_attempts = max_attempts
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._valuer: Valuer | None = None

    def connect(self) -> None:
        """Connects to the database. Raises TransientError: the process is sound, and may be asked again."""
        if self._valuer is None:
            opening = Valuer.open(self._url, max_attempts=self._max_attempts, name=self._name)
            self._valuer = self._loop.run_until_complete(opening)

    def run(self, task: Task) -> TaskResult:
        """Values the task. Raises TransientError, with nothing written."""
        assert self._valuer is not None, "it is given tasks when it is connected"
        return self._loop.run_until_complete(self._valuer.run(task))
