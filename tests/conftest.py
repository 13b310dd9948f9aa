"""One embedded PostgreSQL and one Ray per test session; per test a database of its own.

Databases are copies of a migrated template.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"
for name in [name for name in os.environ if name.startswith("REVALUE_")]:
    del os.environ[name]

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings

from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database

# In CI a failing book is shown as it was found: shrinking it can take minutes.
_PHASES = [phase for phase in Phase if not (os.environ.get("CI") and phase is Phase.shrink)]
_SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile(
    "revalue", deadline=None, print_blob=True, phases=_PHASES, suppress_health_check=_SLOW
)
settings.load_profile("revalue")


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """A data directory with a running server. Its path is short: a Unix socket's has 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="revalue-"))
    yield folder
    embedded.stop(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_url(data_dir: Path) -> str:
    """A server that does not wait for the disk.

    What it has committed survives the death of any process, which is all that tests do to it, and
    not the loss of power. Each test has a database of its own, so most of the time of a test that
    writes little was that of flushing copies of a template.
    """
    url = embedded.start(data_dir)

    async def without_flushes() -> None:
        connection = await asyncpg.connect(url)
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            await connection.execute(f"ALTER SYSTEM SET {name} = off")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    asyncio.run(without_flushes())
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
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
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
        f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")
    )
    await connection.close()
    return named(server_url, name)


async def drop_database(server_url: str, url: str) -> None:
    connection = await asyncpg.connect(server_url)
    await connection.execute(
        f"DROP DATABASE {url.partition('@/')[2].partition('?')[0]} WITH (FORCE)"
    )
    await connection.close()


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    address = await fresh_database(server_url, template)
    yield address
    await drop_database(server_url, address)


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
