"""From settings to an open database: the user's server, or the embedded one, started when it does not run."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from revalue.engine.errors import UsageError
from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.schema import require_head
from revalue.engine.settings import Settings

T = TypeVar("T")


def database_url(settings: Settings) -> str:
    """The address of the database; starts the embedded server when no address is set."""
    return embedded.address(settings)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The database, with the schema that this version works with. Raises SchemaVersionError."""
    url = database_url(settings)
    await require_head(url)
    async with await Database.open(url) as database:
        yield database


def writable_folder(folder: Path) -> Path:
    """The folder, made if it is missing. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"folder {folder} cannot be written to")
    return folder


def with_database(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Runs `work` on an opened database and returns what it returns."""

    async def run() -> T:
        async with opened(settings) as database:
            return await work(database)

    return asyncio.run(run())
