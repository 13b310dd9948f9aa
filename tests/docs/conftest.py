"""One Ray for the pages and examples of this folder, which otherwise start one each time."""

from collections.abc import Iterator

import pytest

from revalue.actors import cluster
from revalue.engine.settings import Settings
from tests.on_ray import joining


@pytest.fixture(scope="package")
def joined_ray() -> Iterator[dict[str, str]]:
    """The variables with which `revalue` joins it."""
    with cluster.connected(Settings(actors=2)):
        yield joining()
