"""Ray: a local instance by default, a cluster when an address is given; and the scheduler on it."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import ray
from ray.actor import ActorHandle

from revalue.actors.scheduler import NAMESPACE, ValuationScheduler
from revalue.engine.errors import LeaderActiveError, UsageError
from revalue.engine.settings import Settings

_RUNS_ALREADY = "a scheduler for this database runs on this cluster already: wait for it, `revalue drain` it, or take over"


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """A block with Ray: the one that this process is connected to already (which is left as it is), else the cluster at
    `ray_address` (or that of the Ray job this is), else a local one of its own."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    address = settings.ray_address or os.environ.get("RAY_ADDRESS")
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray would run its workers at nice 15: on a machine that is shared with PostgreSQL the scheduler, and the actor of the
        # live lane, would get a turn when the server has nothing to do for history.
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(
            address=address or "local",
            namespace=NAMESPACE,
            include_dashboard=False if address is None else None,
            log_to_driver=bool(address),
            logging_level="WARNING",
            **({"num_cpus": settings.actors or os.cpu_count()} if address is None else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"Ray cannot be reached at {address or 'this machine'}: {error}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def start_scheduler(url: str, settings: Settings, *, take_over: bool = False) -> ActorHandle:
    """A scheduler for the database, whose pool has an actor a CPU unless settings say. It lives as long as the driver that
    started it: Ray starts it again when it dies, and ends it when the driver is gone.

    Raises LeaderActiveError when this cluster has one for this address; `take_over` ends that one first. (One of another
    cluster, or under another address, is found by the term that the database gives.)
    """
    name = f"revalue-scheduler-{sha256(url.encode()).hexdigest()[:12]}"
    _make_room(name, settings.lease_seconds, take_over=take_over)
    actors = settings.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    holder = f"{socket.gethostname()}/{uuid.uuid4().hex[:8]}"
    actor = ray.remote(ValuationScheduler).options(
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=16,
        name=name,
        namespace=NAMESPACE,
    )
    try:
        return actor.remote(url, settings, actors, holder, take_over)
    except ValueError as error:  # the name is taken: another command was faster
        raise LeaderActiveError(_RUNS_ALREADY) from error


def _make_room(name: str, lease_seconds: float, *, take_over: bool) -> None:
    """Waits until a scheduler that is ending has given its name back; ends one that does not answer for a lease."""
    while True:
        try:
            other = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            return
        try:
            if not take_over:
                ray.get(other.ping.remote(), timeout=lease_seconds)
                raise LeaderActiveError(_RUNS_ALREADY)
            ray.kill(other, no_restart=True)
        except ray.exceptions.GetTimeoutError:
            ray.kill(other, no_restart=True)
        except ray.exceptions.RayActorError:
            pass
        time.sleep(0.1)


def stop_scheduler(scheduler: ActorHandle, *, seconds: float = 120) -> bool:
    """Drains the scheduler and ends its actor; returns whether what was in flight was finished and applied. What was not is
    released by the next scheduler."""
    try:
        ray.get(scheduler.drain.remote(), timeout=seconds)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return False
    finally:
        ray.kill(scheduler, no_restart=True)
    return True
