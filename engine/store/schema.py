"""The schema's version: brings a database to it, takes it back, and refuses to work with another one."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

import migrations
from engine import logs
from engine.errors import SchemaVersionError, UsageError
from engine.store.database import translated_errors

# Two starters at once must not migrate at once: an arbitrary number that only migrations use.
_MIGRATION_LOCK = 7_263_548_201
_ROLES_MADE = "SELECT rolname::text FROM pg_roles WHERE rolname IN ('revalue_reader', 'revalue_engine')"

_log = logs.logger("schema")


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The revision that this version of the engine works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


async def migrate(url: str, revision: str = "head") -> str:
    """Upgrades (or, to an older revision, downgrades) the schema; returns the revision it has now. Raises UsageError."""
    known = [r.revision for r in ScriptDirectory.from_config(_config()).walk_revisions()]
    if revision not in ("head", "base", *known):
        raise UsageError(f"there is no revision {revision!r}: `head`, `base`, or one of {', '.join(sorted(known))}")

    def run(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        script = ScriptDirectory.from_config(_config())
        current = MigrationContext.configure(connection).get_current_revision()
        below = {r.revision for r in script.iterate_revisions(current, "base")} if current else set()
        target = script.get_current_head() if revision == "head" else revision
        if target == "base" or (target in below and target != current):
            command.downgrade(_config(connection), revision)
        else:
            command.upgrade(_config(connection), revision)

    async with _connect(url) as connection:
        await connection.run_sync(run)
        await connection.commit()
        made = await connection.run_sync(lambda c: c.exec_driver_sql(_ROLES_MADE).scalars().all())
    missing = sorted({"revalue_reader", "revalue_engine"} - set(made))
    if revision == "head" and missing:
        remedy = "CREATE ROLE ... NOLOGIN by one who may, then SELECT grant_revalue_roles() by the owner of the tables"
        _log.warning("database roles were not made: this user has no CREATEROLE", roles=missing, remedy=remedy)
    return await current_revision(url) or "base"


async def current_revision(url: str) -> str | None:
    """The revision of the database's schema, or None when it has none."""
    async with _connect(url) as connection:
        return await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())


async def require_head(url: str) -> None:
    """Raises SchemaVersionError unless the schema is the one that this version works with."""
    revision = await current_revision(url)
    if revision != head():
        raise SchemaVersionError(
            f"the database's schema is at revision {revision or 'none'}, this version works with {head()}: "
            "run `revalue migrate`"
        )


class _connect:
    """An SQLAlchemy connection over asyncpg, which alone reads the address (sockets included)."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> AsyncConnection:
        with translated_errors():
            opened = await asyncpg.connect(self._url, timeout=30)

        async def take() -> "asyncpg.Connection[asyncpg.Record]":
            return opened

        self._engine = create_async_engine("postgresql+asyncpg://", async_creator=take, poolclass=NullPool)
        self._connection = await self._engine.connect()
        return self._connection

    async def __aexit__(self, *failure: object) -> None:
        await self._connection.close()
        await self._engine.dispose()
