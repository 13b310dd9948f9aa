"""The schema's version: upgrade or downgrade a database, and refuse to work with another version.

There is no alembic.ini: Alembic runs over asyncpg, on a connection that this module opens. It is
slow to import and most calls do not need it, so the functions that do import it themselves.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from revalue import migrations
from revalue.engine import logs
from revalue.engine.errors import DatabaseSetupError, SchemaVersionError, UsageError
from revalue.engine.postgres.asyncpg_errors import translated_errors
from revalue.engine.postgres.database import SHORT_SECONDS
from revalue.engine.postgres.opening import connect
from revalue.engine.postgres.statement import statements

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

sql = statements(__package__)

_log = logs.logger("schema")

OnMigration: TypeAlias = Callable[[str, int, int], None]

OLDEST_SERVER = 16
"""The oldest version of PostgreSQL with which the engine works."""

_ROLES = {"revalue_engine", "revalue_reader", "revalue_writer"}


@cache
def head() -> str:
    """Return the revision that this version of the engine needs: that of the last migration."""
    versions = Path(migrations.__file__).parent / "versions"
    last = max(path.stem for path in versions.glob("r[0-9]*.py"))
    return last[1:].partition("_")[0]


async def migrate(
    url: str, revision: str = "head", *, on_migration: OnMigration | None = None
) -> str:
    """Upgrade the schema, or downgrade it to an older revision.

    Args:
        url: the address of the database.
        revision: `head` (the newest), `base` (no schema at all) or a revision's number.
        on_migration: called before the first migration, and at the end of the transaction of each
            one, with the revision that the schema has then, how many migrations are done, and of
            how many.

    Returns:
        The revision that the schema has now, or `base`.

    Raises:
        UsageError: there is no such revision, or every database user may create functions in the
            schema.
        DatabaseSetupError: the server is older than the engine works with.
        CorrectionRefusedError: rows are in the way of a migration; those before it stay applied.
    """
    missing = sorted(_ROLES - await _run_alembic(url, revision, on_migration))
    if revision == "head" and missing:
        _log.warning(
            "database roles were not created: this user has no CREATEROLE privilege",
            roles=missing,
            remedy="a privileged user runs CREATE ROLE ... NOLOGIN for each, "
            "then the owner of the tables runs SELECT grant_revalue_roles()",
        )
    return await current_revision(url) or "base"


async def current_revision(url: str) -> str | None:
    """Return the revision of the database's schema, or None when it has none."""
    with translated_errors():
        connection = await connect(url, seconds=SHORT_SECONDS)
        try:
            if not await connection.fetchval(sql("has_schema").text):
                return None
            revision: str | None = await connection.fetchval(sql("schema_revision").text)
            return revision
        finally:
            await connection.close(timeout=SHORT_SECONDS)


async def require_head(url: str) -> None:
    """Raise SchemaVersionError unless the schema is the one that this version works with."""
    require(await current_revision(url))


def require(revision: str | None) -> None:
    """Raise SchemaVersionError unless the revision is the one that this version works with."""
    if revision != head():
        raise SchemaVersionError(
            f"the database's schema is at revision {revision or 'none'}, this version works with "
            f"{head()}: run `revalue migrate`"
        )


def alembic_config(
    connection: "Connection | None" = None, on_version_apply: Callable[..., None] | None = None
) -> "Config":
    """Return Alembic's configuration for this package's migrations.

    Args:
        connection: on which they run.
        on_version_apply: called by Alembic in the transaction of each one, at its end.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    config.attributes["on_version_apply"] = on_version_apply
    return config


async def _run_alembic(url: str, revision: str, on_migration: OnMigration | None) -> set[str]:
    """Upgrade or downgrade; return those of the engine's database roles that exist then."""
    from alembic import command
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(alembic_config())
    known = [each.revision for each in script.walk_revisions()]
    if revision not in ("head", "base", *known):
        raise UsageError(
            f"there is no revision {revision!r}: choose `head`, `base` or one of "
            f"{', '.join(sorted(known))}"
        )

    def run(connection: "Connection") -> None:
        connection.exec_driver_sql(sql("lock_migrations").text)
        current = MigrationContext.configure(connection).get_current_revision()
        open_schema = connection.exec_driver_sql(sql("schema_open_to_all").text).scalar()
        connection.commit()  # else all migrations would run in the transaction of this query
        below = (
            {each.revision for each in script.iterate_revisions(current, "base")}
            if current
            else set()
        )
        target = script.get_current_head() if revision == "head" else revision
        is_downgrade = target == "base" or (target in below and target != current)
        wanted = (
            set()
            if target in (None, "base")
            else {each.revision for each in script.iterate_revisions(target, "base")}
        )
        done = _Done(current or "base", len(wanted ^ below), on_migration)
        if is_downgrade:
            command.downgrade(alembic_config(connection, done.count), revision)
            return
        _require_server(connection.dialect.server_version_info or ())
        if open_schema is not None:
            raise UsageError(
                f'every database user may create functions in the schema "{open_schema}", and '
                "functions of revalue, which have the rights of the owner of the tables, could "
                f'call them: run REVOKE CREATE ON SCHEMA "{open_schema}" FROM PUBLIC, or migrate '
                "with a search_path that begins with a schema of its own"
            )
        command.upgrade(alembic_config(connection, done.count), revision)

    async with _sqlalchemy_connection(url) as connection:
        with translated_errors(), _driver_errors():
            await connection.run_sync(run)
            await connection.commit()
        roles = sql("existing_roles").text
        return set(await connection.run_sync(lambda c: c.exec_driver_sql(roles).scalars()))


def _require_server(version: tuple[Any, ...]) -> None:
    """Raise DatabaseSetupError if the server is too old: on it nothing was ever tested."""
    if version < (OLDEST_SERVER,):
        raise DatabaseSetupError(
            f"the server is PostgreSQL {'.'.join(map(str, version))}, and this version works with "
            f"{OLDEST_SERVER} or newer: give the address of such a server, or upgrade this one"
        )


class _Done:
    """Counts migrations."""

    def __init__(self, revision: str, of_all: int, on_migration: OnMigration | None) -> None:
        self._done = 0
        self._of_all = of_all
        self._on_migration = on_migration
        self._tell(revision)

    def count(self, **applied: Any) -> None:
        """Take the end of a migration from Alembic."""
        self._done += 1
        self._tell(next(iter(applied["heads"]), "base"))

    def _tell(self, revision: str) -> None:
        if self._on_migration is not None and self._of_all:
            self._on_migration(revision, self._done, self._of_all)


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Raise the driver's error instead of the one that SQLAlchemy has made of it."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        if error.orig is None or not isinstance(error.orig.__cause__, asyncpg.PostgresError):
            raise
        raise error.orig.__cause__ from error


@asynccontextmanager
async def _sqlalchemy_connection(url: str) -> "AsyncIterator[AsyncConnection]":
    """Give an SQLAlchemy connection over asyncpg; asyncpg alone reads the address (sockets too)."""
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    with translated_errors():
        opened = await connect(url)

    async def take() -> "asyncpg.Connection[asyncpg.Record]":
        return opened

    engine = create_async_engine("postgresql+asyncpg://", async_creator=take, poolclass=NullPool)
    connection = await engine.connect()
    try:
        yield connection
    finally:
        await connection.close()
        await engine.dispose()
