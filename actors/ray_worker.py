"""A valuation actor on Ray, as the pool sees it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError, RayTaskError

from revalue.actors.protocols import WorkerDiedError
from revalue.actors.valuation import ValuationActor
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.errors import RevalueError
from revalue.engine.value.valuer import ValuerOptions


class RayWorker:
    """One valuation actor. It starts at once; `connect` waits until it runs."""

    def __init__(self, url: str, options: ValuerOptions, *, name: str, is_reserved: bool) -> None:
        """Start the actor.

        Args:
            is_reserved: it takes no CPU of Ray's account, so that there is room for it.
        """
        self.name = name
        threads = "1"
        # Ray must not repeat a call: the scheduler gives a lost attempt to another actor, under a
        # new task id.
        self._actor = (
            ray.remote(ValuationActor)
            .options(
                num_cpus=0 if is_reserved else 1,
                scheduling_strategy="SPREAD",
                max_restarts=0,
                max_task_retries=0,
                runtime_env={
                    "env_vars": {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}
                },
            )
            .remote(url, name, options)
        )

    async def connect(self) -> str:
        """Connect to the database; return the name of the machine. See protocols.Worker."""
        with _translated():
            machine: str = await asyncio.wrap_future(self._actor.connect.remote().future())
        return machine

    async def run(self, task: Task) -> TaskResult:
        """Value a task. See protocols.Worker."""
        with _translated():
            result: TaskResult = await asyncio.wrap_future(self._actor.run.remote(task).future())
        return result

    def kill(self) -> None:
        """End the actor's process at once."""
        ray.kill(self._actor)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the engine's own errors as they are, and WorkerDiedError for those of Ray."""
    try:
        yield
    except RayTaskError as error:
        cause = error.cause if isinstance(error.cause, BaseException) else error
        raise cause if isinstance(cause, RevalueError) else error from error
    except RayError as error:
        # RayError and not ActorDiedError: an actor that Ray killed because memory was short has
        # not "died".
        raise WorkerDiedError(str(error)) from error
