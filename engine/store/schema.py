"""The schema's version: brings a database to it, takes it back, and refuses to work with another one."""

from functools import cache
from pathlib import Path

import asyncpg

import migrations
from engine import logs
from engine.errors import SchemaVersionError
from engine.store.database import translated_errors

_log = logs.logger("schema")


@cache
def head() -> str:
    """The revision that this version of the engine works with: that of the last file of migrations/versions."""
    last = max(path.stem for path in (Path(migrations.__file__).parent / "versions").glob("r[0-9]*.py"))
    return last[1:].partition("_")[0]


async def migrate(url: str, revision: str = "head") -> str:
    """Upgrades (or, to an older revision, downgrades) the schema; returns the revision it has now. Raises UsageError."""
    from engine.store import migrating  # Alembic takes a while to import, and no other call needs it

    missing = sorted({"revalue_reader", "revalue_engine"} - await migrating.migrate(url, revision))
    if revision == "head" and missing:
        remedy = "CREATE ROLE ... NOLOGIN by one who may, then SELECT grant_revalue_roles() by the owner of the tables"
        _log.warning("database roles were not made: this user has no CREATEROLE", roles=missing, remedy=remedy)
    return await current_revision(url) or "base"


async def current_revision(url: str) -> str | None:
    """The revision of the database's schema, or None when it has none."""
    with translated_errors():
        connection = await asyncpg.connect(url, timeout=30)
        try:
            if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
                return None
            revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
            return revision
        finally:
            await connection.close()


async def require_head(url: str) -> None:
    """Raises SchemaVersionError unless the schema is the one that this version works with."""
    revision = await current_revision(url)
    if revision != head():
        raise SchemaVersionError(
            f"the database's schema is at revision {revision or 'none'}, this version works with {head()}: "
            "run `revalue migrate`"
        )
