"""What the tests of this folder share: a local Ray with fault injection, and a database outage."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from revalue.actors import cluster
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.faults.armory import Armory
from tests.on_ray import wait_until_quiet
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
    """A local Ray whose processes read the folder of faults. This process does not."""
    folder = tmp_path_factory.mktemp("faults")
    os.environ["REVALUE_FAULTS"] = str(folder)
    with cluster.connected(ON_RAY):
        yield Armory(folder)
    del os.environ["REVALUE_FAULTS"]


@pytest.fixture
def armory(ray_with_faults: Armory) -> Armory:
    """The folder of faults, with nothing armed."""
    ray_with_faults.disarm()
    return ray_with_faults


@pytest.fixture
async def scheduler(armory: Armory, url: str, database: Database) -> AsyncIterator[Any]:
    """A scheduler on Ray that has valued twelve positions and has nothing left to do."""
    await load_small_book(database, portfolios=6)
    started = cluster.start_scheduler(url, ON_RAY)
    wait_until_quiet(started)
    yield started
    cluster.stop_scheduler(started)


class Outage:
    """An outage of a test's database for the clients that connect to `url`.

    `url` leads to the server's socket through a link. While the outage lasts there is no link, and
    no connection.
    """

    def __init__(self, url: str, folder: Path) -> None:
        (host,) = parse_qs(urlsplit(url).query)["host"]
        self._socket = Path(host) / ".s.PGSQL.5432"
        self._link = folder / self._socket.name
        self._real = url
        self.url = url.replace(host, str(folder))
        self.end()

    def end(self) -> None:
        """Make the server available again."""
        self._link.symlink_to(self._socket)

    async def begin(self) -> None:
        """Make the server unavailable: end all connections and refuse new ones."""
        self._link.unlink()
        connection = await asyncpg.connect(self._real)
        await connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        await connection.close()


@pytest.fixture
async def outage(url: str) -> AsyncIterator[Outage]:
    # Outside of tmp_path: the path of a socket may have at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="outage-"))
    yield Outage(url, folder)
    shutil.rmtree(folder)
