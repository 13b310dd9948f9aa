"""The schema goes up from nothing, down to nothing, and up from the head before."""

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from engine.errors import SchemaVersionError
from engine.store import migrating, schema
from tests.conftest import drop_database, fresh_database

OBJECTS = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relname NOT LIKE 'alembic%'
"""
LEFT_OVER = """
    SELECT (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public')
         + (SELECT count(*) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
            WHERE n.nspname = 'public' AND t.typtype = 'e')
"""


@pytest.fixture
async def empty_url(server_url: str):  # type: ignore[no-untyped-def]
    url = await fresh_database(server_url, None)
    yield url
    await drop_database(server_url, url)


def revisions() -> list[str]:
    script = ScriptDirectory.from_config(migrating.config())
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


async def test_every_revision_goes_up_and_down_and_leaves_nothing(empty_url: str) -> None:
    for revision in revisions():
        assert await schema.migrate(empty_url, revision) == revision
    connection = await asyncpg.connect(empty_url)
    full = await connection.fetchval(OBJECTS)
    assert full > 20
    assert schema.head() == revisions()[-1]
    for revision in [*reversed(revisions()[:-1]), "base"]:
        assert await schema.migrate(empty_url, revision) == revision
    assert await connection.fetchval(OBJECTS) == 0
    assert await connection.fetchval(LEFT_OVER) == 0
    assert await schema.migrate(empty_url) == schema.head()
    assert await connection.fetchval(OBJECTS) == full
    await connection.close()


async def test_the_previous_head_is_upgraded_with_its_data(empty_url: str) -> None:
    await schema.migrate(empty_url, revisions()[-2])
    connection = await asyncpg.connect(empty_url)
    await connection.execute("INSERT INTO calendars (calendar_id) VALUES ('KEPT')")
    await schema.migrate(empty_url)
    assert await connection.fetchval("SELECT calendar_id FROM calendars") == "KEPT"
    await connection.close()


async def test_another_schema_is_refused_with_what_to_do(empty_url: str) -> None:
    with pytest.raises(SchemaVersionError, match="revalue migrate"):
        await schema.require_head(empty_url)
    await schema.migrate(empty_url, "0001")
    with pytest.raises(SchemaVersionError, match="0001"):
        await schema.require_head(empty_url)
