"""The connection to Ray (a local instance, or a cluster), and the scheduler actor on it."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from typing import Any

import ray
from ray._private import ray_constants
from ray.actor import ActorHandle

from revalue.actors import log_relay
from revalue.actors.protocols import RayTooSlowError
from revalue.actors.ray_scheduler import NAMESPACE, ValuationScheduler
from revalue.actors.runner import STOP_SECONDS
from revalue.engine.errors import LeaderActiveError, UsageError
from revalue.engine.leadership.term import new_holder
from revalue.engine.settings import Settings, ray_cluster

_REACH_SECONDS = 10
_RUNS_ALREADY = (
    "a scheduler for this database runs on this cluster already: wait for it, stop it "
    "(`revalue drain`), or take over (`--take-over`)"
)


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Connect this process to Ray for the duration of the block.

    The first of these that applies: the Ray that the process is connected to already (it stays
    connected); the cluster at `ray_address`, or that of the Ray job which this process is; a local
    Ray, started for the block.

    Raises:
        UsageError: Ray cannot be reached, or cannot be started.
        RayTooSlowError: a local Ray did not start in time.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    address = ray_cluster(settings)
    if address is not None:
        _require_reachable(address)
    with log_relay.receiving() if address is None else nullcontext():
        try:
            if address is None:
                _start_local_ray(settings.actors)
            else:
                ray.init(address=address, namespace=NAMESPACE, logging_level="WARNING")
        except Exception as error:
            said = f"Ray cannot be reached at {address or 'this machine'}: {error}"
            # Ray has no class of its own for a start that took too long.
            is_slow = address is None and type(error) is Exception
            raise (RayTooSlowError if is_slow else UsageError)(said) from error
        try:
            yield
        finally:
            ray.shutdown()


def _require_reachable(address: str) -> None:
    """Refuse an address where nobody listens: Ray tries it for minutes, and takes no signals."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():  # found, or bounded, by Ray
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"Ray cannot be reached at {address}: {error}. Start it there, or give the address of "
            "another (--ray-address, RAY_ADDRESS)"
        ) from error


def _start_local_ray(cpus: int | None) -> None:
    """Start a Ray that only processes of this user on this machine can use.

    Who reaches a Ray can run any code as its user. So it listens on loopback only, and asks for a
    token: one of its own, unless the environment has one. A user who sets RAY_AUTH_MODE has decided
    otherwise.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # At Ray's default of nice 15 the scheduler and the live-lane actor would starve while a
    # backfill keeps PostgreSQL busy on the same machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        # It stays in the environment: the processes that Ray starts later read it too.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Ray tells on each start that it asks for a token.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    with _on_loopback():
        ray.init(
            address="local",
            namespace=NAMESPACE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="WARNING",
            num_cpus=cpus,  # None: as many as Ray finds, within the limits of a container
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that starts in the block give its node the address 127.0.0.1.

    Ray listens on all addresses unless that is its node's, and replaces it where it is asked for.
    Where Ray makes no clusters (macOS, Windows) it does this by itself; no setting asks for it.
    `tests/actors/test_local_ray.py` fails when this no longer has an effect.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def start_scheduler(
    url: str, settings: Settings, *, holder: str | None = None, take_over: bool = False
) -> ActorHandle:
    """Start the scheduler of a database, with one valuation actor per CPU unless settings say.

    It lives as long as the driver that started it: Ray restarts it when it dies, and ends it when
    the driver is gone.

    Args:
        holder: under which it leads; None: a new name.
        take_over: end another scheduler of this address on this cluster first.

    Raises:
        LeaderActiveError: this cluster has one for this address. (One of another cluster, or under
            another address, is found by the term that the database issues.)
    """
    name = f"revalue-scheduler-{sha256(url.encode()).hexdigest()[:12]}"
    _wait_for_name(name, settings.lease_seconds, take_over=take_over)
    actors = settings.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    actor = ray.remote(ValuationScheduler).options(
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=16,
        name=name,
        namespace=NAMESPACE,
    )
    try:
        return actor.remote(url, settings, actors, holder or new_holder(), take_over)
    except ValueError as error:  # the name is taken: another command was faster
        raise LeaderActiveError(_RUNS_ALREADY) from error


def _wait_for_name(name: str, lease_seconds: float, *, take_over: bool) -> None:
    """Wait until an ending scheduler has given its name back; end one that does not answer."""
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


def stop_scheduler(scheduler: ActorHandle, *, seconds: float = STOP_SECONDS) -> bool:
    """Drain the scheduler and end its actor.

    Returns:
        Whether the tasks in flight were finished and applied within `seconds`. The next scheduler
        releases those that were not.
    """
    has_ended = True
    try:
        ray.get(scheduler.drain.remote(), timeout=seconds)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        has_ended = False
    ray.kill(scheduler, no_restart=True)
    return has_ended


def hand_over(scheduler: ActorHandle, *, seconds: float = STOP_SECONDS) -> dict[str, Any] | None:
    """Drain the scheduler and end its actor, but keep its term for the next one of its holder.

    Returns:
        Its last progress; nothing, if it does not answer within `seconds`. None: see
        Scheduler.hand_over; the actor is not ended.
    """
    last: dict[str, Any] | None
    try:
        last = ray.get(scheduler.hand_over.remote(), timeout=seconds)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        last = {}
    if last is not None:
        ray.kill(scheduler, no_restart=True)
    return last
