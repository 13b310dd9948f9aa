"""What tests of schedulers on Ray share."""

import time
from typing import Any

import ray


def joining() -> dict[str, str]:
    """The variables with which `revalue` joins the Ray of this process, as that of a cluster.

    To start one takes seconds each time.
    """
    return {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        # It listens on loopback, where Ray would not look for it.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def wait_until_quiet(scheduler: Any, *, seconds: float = 120) -> dict[str, Any]:
    """Wait until a scheduler has nothing left to do, also while Ray restarts it.

    Returns:
        Its progress.
    """
    end = time.monotonic() + seconds
    while True:
        told: object
        try:
            progress: dict[str, Any] = ray.get(scheduler.progress.remote(), timeout=60)
            if progress["quiet"]:
                return progress
            told = progress
        except ray.exceptions.RayActorError as error:
            told = error
        assert time.monotonic() < end, told
        time.sleep(0.02)
