"""/health/ready, which anybody may call: right, cheap, and without a word for strangers."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from revalue.console.web.readiness import Readiness
from revalue.engine.postgres.database import Database
from tests.support import execute
from tests.web.test_api import client

NOT_READY = "the database does not respond, or has another schema"


@pytest.fixture
async def prober(url: str) -> AsyncIterator[str]:
    """The address for a user who may have one database session at a time."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE ROLE test_prober LOGIN CONNECTION LIMIT 1")
    await connection.execute("GRANT revalue_reader TO test_prober")
    yield url.replace("//postgres:", "//test_prober:")
    await connection.execute("DROP ROLE test_prober")
    await connection.close()


async def wait_until(readiness: Readiness, *, ready: bool) -> None:
    """Wait until an answer that is kept for a second has given way to another one."""
    end = time.monotonic() + 30
    while await readiness.is_ready() is not ready:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_many_probes_at_once_take_one_database_session(prober: str) -> None:
    """A second session of this user would be refused, and its probe told: not ready."""
    readiness = Readiness(prober)
    assert await asyncio.gather(*(readiness.is_ready() for _ in range(60))) == [True] * 60


async def test_another_schema_is_not_ready_until_it_is_migrated(
    url: str, database: Database
) -> None:
    readiness = Readiness(url)
    assert await readiness.is_ready()
    (before,) = await fetch_versions(database)
    await execute(database, "UPDATE alembic_version SET version_num = '0008'")
    await wait_until(readiness, ready=False)
    await execute(database, "UPDATE alembic_version SET version_num = $1", before)
    await wait_until(readiness, ready=True)


async def fetch_versions(database: Database) -> list[str]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT version_num FROM alembic_version")
    return [row["version_num"] for row in rows]


async def test_a_stranger_is_told_no_more_than_that_it_is_not_ready(
    url: str, database: Database
) -> None:
    async with client(url, require_token=True) as web:
        assert (await web.get("/health/ready")).json() == {"status": "ok"}
    await execute(database, "UPDATE alembic_version SET version_num = '0008'")
    async with client(url, require_token=True) as web:
        answer = await web.get("/health/ready")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["detail"] == NOT_READY
    assert "localhost" not in answer.text
