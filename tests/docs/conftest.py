"""One Ray for the pages and examples of this folder, which otherwise start one each time."""

from collections.abc import Iterator

import pytest
import ray

from revalue.actors import cluster
from revalue.engine.settings import Settings


@pytest.fixture(scope="package")
def joined_ray() -> Iterator[dict[str, str]]:
    """The variables with which `revalue` joins a Ray that runs, as that of a cluster."""
    with cluster.connected(Settings(actors=2)):
        yield {
            "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
            # It listens on loopback, where Ray would not look for it.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
