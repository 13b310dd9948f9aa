"""The valuation actor: a process of its own that values one task after the other."""

import asyncio

from engine.store.tasks import Task, TaskResult
from engine.work import Valuer


class ValuationActor:
    """A plain class that actors.pool makes an actor of."""

    def __init__(self, url: str, max_attempts: int, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._valuer = self._loop.run_until_complete(Valuer.open(url, max_attempts=max_attempts, name=name))

    def ready(self) -> bool:
        """Answers when the actor is connected."""
        return True

    def run(self, task: Task) -> TaskResult:
        """Values the task. Raises TransientError, with nothing written."""
        return self._loop.run_until_complete(self._valuer.run(task))
