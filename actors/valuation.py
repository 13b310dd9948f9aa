"""The valuation actor: a process that values one task after the other."""

import asyncio
import socket

from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.value.valuer import Valuer, ValuerOptions


class ValuationActor:
    """A plain class that actors.ray_worker turns into a Ray actor."""

    def __init__(self, url: str, name: str, options: ValuerOptions) -> None:
        self._url = url
        self._name = name
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._valuer: Valuer | None = None

    def connect(self) -> str:
        """Connect to the database; return the name of the machine.

        Raises:
            TransientError: call again, the process is sound.
        """
        if self._valuer is None:
            opening = Valuer.open(self._url, self._options, name=self._name)
            self._valuer = self._loop.run_until_complete(opening)
        return socket.gethostname()

    def run(self, task: Task) -> TaskResult:
        """Value the task. Raises TransientError, with nothing written."""
        assert self._valuer is not None, "the pool gives tasks to connected actors only"
        return self._loop.run_until_complete(self._valuer.run(task))
