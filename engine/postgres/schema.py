"""The schema's version: brings a database to it, takes it back, and refuses to work with another one.

There is no alembic.ini: Alembic runs over asyncpg, on a connection that this module opens. It takes a while to import,
and most calls do not need it, so the functions that do import it themselves.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from revalue import migrations
from revalue.engine import logs
from revalue.engine.errors import SchemaVersionError, UsageError
from revalue.engine.postgres.database import translated_errors

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

_log = logs.logger("schema")

# Two commands that migrate at once take turns: an arbitrary number that only migrations use.
_MIGRATION_LOCK = 7_263_548_201
_ROLES = ("revalue_engine", "revalue_reader")
_ROLES_MADE = (
    "SELECT rolname::text FROM pg_roles WHERE rolname IN ('revalue_reader', 'revalue_engine')"
)


@cache
def head() -> str:
    """The revision that this version of the engine works with: that of the last file of migrations/versions."""
    last = max(
        path.stem for path in (Path(migrations.__file__).parent / "versions").glob("r[0-9]*.py")
    )
    return last[1:].partition("_")[0]


async def migrate(url: str, revision: str = "head") -> str:
    """Upgrade (or, to an older revision, downgrade) the schema; return the revision that it has now.

    Raises:
        UsageError: there is no such revision.
    """
    missing = sorted(set(_ROLES) - await _run_alembic(url, revision))
    if revision == "head" and missing:
        remedy = "CREATE ROLE ... NOLOGIN by one who may, then SELECT grant_revalue_roles() by the owner of the tables"
        _log.warning(
            "database roles were not made: this user has no CREATEROLE",
            roles=missing,
            remedy=remedy,
        )
    return await current_revision(url) or "base"


async def current_revision(url: str) -> str | None:
    """The revision of the database's schema, or None when it has none."""
    with translated_errors():
        connection = await asyncpg.connect(url, timeout=30)
        try:
            if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
                return None
            revision: str | None = await connection.fetchval(
                "SELECT version_num FROM alembic_version"
            )
            return revision
        finally:
            await connection.close()


async def require_head(url: str) -> None:
    """Raise SchemaVersionError unless the schema is the one that this version works with."""
    revision = await current_revision(url)
    if revision != head():
        raise SchemaVersionError(
            f"the database's schema is at revision {revision or 'none'}, this version works with {head()}: "
            "run `revalue migrate`"
        )


def alembic_config(connection: "Connection | None" = None) -> "Config":
    """Alembic's configuration, for this package's migrations."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    made.attributes["connection"] = connection
    return made


async def _run_alembic(url: str, revision: str) -> set[str]:
    """Upgrade or downgrade; return those of the engine's database roles that exist."""
    from alembic import command
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(alembic_config())
    known = [each.revision for each in script.walk_revisions()]
    if revision not in ("head", "base", *known):
        raise UsageError(
            f"there is no revision {revision!r}: `head`, `base`, or one of {', '.join(sorted(known))}"
        )

    def run(connection: "Connection") -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        current = MigrationContext.configure(connection).get_current_revision()
        below = (
            {each.revision for each in script.iterate_revisions(current, "base")}
            if current
            else set()
        )
        target = script.get_current_head() if revision == "head" else revision
        if target == "base" or (target in below and target != current):
            command.downgrade(alembic_config(connection), revision)
        else:
            command.upgrade(alembic_config(connection), revision)

    async with _sqlalchemy_connection(url) as connection:
        await connection.run_sync(run)
        await connection.commit()
        return set(
            await connection.run_sync(lambda c: c.exec_driver_sql(_ROLES_MADE).scalars().all())
        )


@asynccontextmanager
async def _sqlalchemy_connection(url: str) -> "AsyncIterator[AsyncConnection]":
    """An SQLAlchemy connection over asyncpg, which alone reads the address (sockets included)."""
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    with translated_errors():
        opened = await asyncpg.connect(url, timeout=30)

    async def take() -> "asyncpg.Connection[asyncpg.Record]":
        return opened

    engine = create_async_engine("postgresql+asyncpg://", async_creator=take, poolclass=NullPool)
    connection = await engine.connect()
    try:
        yield connection
    finally:
        await connection.close()
        await engine.dispose()
