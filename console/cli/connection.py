"""From settings to an open database: the user's server, or the embedded one, which is started."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.schema import require_head
from revalue.engine.settings import Settings

T = TypeVar("T")


def database_url(settings: Settings, *, creates: bool = False) -> str:
    """Return the address of the database; start the embedded server when no address is set.

    Args:
        creates: create the book that is named if there is none.

    Raises:
        NotFoundError: there is no such book.
    """
    return embedded.address(settings, creates=creates)


def migrated_database_url(settings: Settings) -> str:
    """Return the address of a database with the schema that this version works with.

    Raises:
        SchemaVersionError: the schema is another one.
    """
    url = database_url(settings)
    asyncio.run(require_head(url))
    return url


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the database of the settings.

    Raises:
        SchemaVersionError: its schema is not the one that this version works with.
    """
    url = database_url(settings)
    await require_head(url)
    async with await Database.open(url) as database:
        yield database


def with_database(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Open the database, run `work` on it and return its result."""

    async def run() -> T:
        async with opened(settings) as database:
            return await work(database)

    return asyncio.run(run())
