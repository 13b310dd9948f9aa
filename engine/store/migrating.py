"""Takes a database's schema to a revision, by Alembic over asyncpg."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

import migrations
from engine.errors import UsageError
from engine.store.database import translated_errors

# Two starters at once must not migrate at once: an arbitrary number that only migrations use.
_MIGRATION_LOCK = 7_263_548_201
_ROLES_MADE = "SELECT rolname::text FROM pg_roles WHERE rolname IN ('revalue_reader', 'revalue_engine')"


def config(connection: Connection | None = None) -> Config:
    """Alembic's, of this package's migrations; there is no alembic.ini."""
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    made.attributes["connection"] = connection
    return made


async def migrate(url: str, revision: str) -> set[str]:
    """Upgrades or downgrades; returns those of the database roles that are there. Raises UsageError for a revision that is
    none."""
    known = [r.revision for r in ScriptDirectory.from_config(config()).walk_revisions()]
    if revision not in ("head", "base", *known):
        raise UsageError(f"there is no revision {revision!r}: `head`, `base`, or one of {', '.join(sorted(known))}")

    def run(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        script = ScriptDirectory.from_config(config())
        current = MigrationContext.configure(connection).get_current_revision()
        below = {r.revision for r in script.iterate_revisions(current, "base")} if current else set()
        target = script.get_current_head() if revision == "head" else revision
        if target == "base" or (target in below and target != current):
            command.downgrade(config(connection), revision)
        else:
            command.upgrade(config(connection), revision)

    async with _connect(url) as connection:
        await connection.run_sync(run)
        await connection.commit()
        return set(await connection.run_sync(lambda c: c.exec_driver_sql(_ROLES_MADE).scalars().all()))


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
