"""Ray: a local instance by default, a cluster when an address is given; and the scheduler on it."""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.actor import ActorHandle

from actors.scheduler import NAME, NAMESPACE, ValuationScheduler
from engine.errors import UsageError
from engine.settings import Settings


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
        raise UsageError(f"Ray cannot be reached at {address or 'this machine'}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def start_scheduler(url: str, settings: Settings, *, take_over: bool = False) -> ActorHandle:
    """The cluster's scheduler: the one that runs, or a new one. Its pool has an actor a CPU unless settings say."""
    actors = settings.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    holder = f"{socket.gethostname()}/{uuid.uuid4().hex[:8]}"
    return (
        ray.remote(ValuationScheduler)
        .options(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=16,
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
        )
        .remote(url, settings, actors, holder, take_over)
    )


def stop_scheduler(scheduler: ActorHandle) -> None:
    """Drains the scheduler and ends its actor."""
    try:
        ray.get(scheduler.drain.remote(), timeout=120)
    finally:
        ray.kill(scheduler, no_restart=True)
