"""A scheduler on Ray: a local instance, or a cluster."""

import time
from contextlib import AbstractContextManager
from typing import Any

import ray
from ray.actor import ActorHandle

from revalue.actors import cluster
from revalue.actors.backoff import require_within
from revalue.actors.protocols import SchedulerStartError
from revalue.actors.runner import Runner
from revalue.engine import logs
from revalue.engine.errors import RevalueError, TermLostError
from revalue.engine.runtime import OnProgress, Run
from revalue.engine.settings import Settings, ray_cluster

_POLL_SECONDS = 0.25
_ANSWER_SECONDS = 60
# How many calls may fail as "died" before the scheduler is considered gone. While Ray restarts an
# actor, calls are answered or fail as "unavailable".
_MAX_DEATHS = 3

_log = logs.logger("runner")


def run_until_quiet(url: str, settings: Settings, *, on_progress: OnProgress | None = None) -> Run:
    """The runtime `ray` of engine.runtime: one run on Ray, from a scheduler's start to its end."""
    with Runner(RayHost(settings), url, settings) as runner:
        return runner.until_quiet(on_progress)


class RayHost:
    """The Ray that this process is connected to, the cluster of the settings, or a local Ray.

    See actors.protocols.Host.
    """

    runtime = "ray"
    poll_seconds = _POLL_SECONDS

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scheduler: ActorHandle | None = None
        self._deaths, self._silent = 0, 0.0

    @property
    def place(self) -> str:
        address = ray_cluster(self._settings)
        if address is None:
            return "on its own Ray, which ends too,"
        return f"on the Ray cluster at {address}"

    @property
    def is_here(self) -> bool:
        return ray_cluster(self._settings) is None and not ray.is_initialized()

    def connected(self) -> AbstractContextManager[None]:
        return cluster.connected(self._settings)

    def start(self, url: str, settings: Settings, *, holder: str, take_over: bool) -> None:
        self._scheduler = cluster.start_scheduler(url, settings, holder=holder, take_over=take_over)

    def ask(self, idle_seconds: float | None) -> dict[str, Any] | None:
        assert self._scheduler is not None
        try:
            progress: dict[str, Any] = ray.get(
                self._scheduler.progress.remote(idle_seconds), timeout=_ANSWER_SECONDS
            )
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, RevalueError) else error from None
        except ray.exceptions.GetTimeoutError:
            _log.warning(
                "the scheduler does not answer: its process or its node may be stopped",
                seconds=_ANSWER_SECONDS,
            )
            self._silent += _ANSWER_SECONDS
            require_within(self._settings.outage_seconds, self._silent, "its scheduler is silent")
            return None
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise SchedulerStartError(
                    f"the scheduler cannot start: {str(error).strip().splitlines()[-1]}. Every "
                    "node needs this version of revalue, Ray and Python"
                ) from error
            self._deaths += isinstance(error, ray.exceptions.ActorDiedError)
            if self._deaths > _MAX_DEATHS:
                raise TermLostError(
                    "the scheduler of this command is gone and is not restarted: another "
                    "command has taken over, and releases what this one had started"
                ) from None
            time.sleep(1)  # it recovers from the database
            return None
        if not progress.get("starting"):
            self._deaths, self._silent = 0, 0.0
        return progress

    def hand_over(self) -> dict[str, Any] | None:
        assert self._scheduler is not None
        last = cluster.hand_over(self._scheduler)
        if last is not None:
            self._scheduler = None
        return last

    def stop(self) -> bool:
        if self._scheduler is None:  # it was handed over
            return True
        return cluster.stop_scheduler(self._scheduler)
