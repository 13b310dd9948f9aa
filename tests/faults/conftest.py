"""What the files of this folder share: a local Ray whose processes look into a folder of faults, a
door to the database."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import ray

from revalue.actors import cluster
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.faults.armory import Armory
from tests.support import load_small_book

ON_RAY = Settings(
    actors=1,
    task_rows=20,
    task_starts_per_second=1000,
    poll_seconds=0.2,
    lease_seconds=2,
    task_deadline_seconds=3,
)


@pytest.fixture(scope="package")
def ray_with_faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Armory]:
    """A local Ray whose processes look into the folder of faults. This process does not."""
    folder = tmp_path_factory.mktemp("faults")
    os.environ["REVALUE_FAULTS"] = str(folder)
    with cluster.connected(ON_RAY):
        yield Armory(folder)
    del os.environ["REVALUE_FAULTS"]


@pytest.fixture
def armory(ray_with_faults: Armory) -> Armory:
    """With nothing armed."""
    ray_with_faults.disarm()
    return ray_with_faults


@pytest.fixture
async def scheduler(armory: Armory, url: str, database: Database) -> AsyncIterator[Any]:
    """On Ray, and quiet: it has valued twelve positions."""
    await load_small_book(database, portfolios=6)
    started = cluster.start_scheduler(url, ON_RAY)
    wait_until_quiet(started)
    yield started
    cluster.stop_scheduler(started)


def wait_until_quiet(scheduler: Any) -> dict[str, Any]:
    while True:
        try:
            progress: dict[str, Any] = ray.get(scheduler.progress.remote(), timeout=60)
        except ray.exceptions.ActorUnavailableError:
            continue  # being started again
        if progress["quiet"]:
            return progress


class Door:
    """A way to the database of a test that can be shut and opened: while it is shut the server is
    away, for those behind."""

    def __init__(self, url: str, folder: Path) -> None:
        (host,) = parse_qs(urlsplit(url).query)["host"]
        self._socket = Path(host) / ".s.PGSQL.5432"
        self._way = folder / self._socket.name
        self._real = url
        self.url = url.replace(host, str(folder))
        self.open()

    def open(self) -> None:
        self._way.symlink_to(self._socket)

    async def shut(self) -> None:
        self._way.unlink()
        connection = await asyncpg.connect(self._real)
        await connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        await connection.close()


@pytest.fixture
async def door(url: str) -> AsyncIterator[Door]:
    # Short: the path of a socket may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="door-"))
    yield Door(url, folder)
    shutil.rmtree(folder)
