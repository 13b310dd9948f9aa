"""Books by name: each is a database of the embedded server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

import asyncpg

from revalue.engine.errors import BookInUseError, NotFoundError, UsageError
from revalue.engine.postgres.asyncpg_errors import translated_errors
from revalue.engine.postgres.database import SHORT_SECONDS
from revalue.engine.postgres.opening import connect
from revalue.engine.postgres.statement import statements
from revalue.engine.settings import BOOK_NAMES, FIRST_BOOK, is_book_name

sql = statements(__package__)

_CREATE_SECONDS = 300  # a slow disk takes long for the 300 files of a database
_ENDING_SECONDS = 1


@dataclass(frozen=True)
class StoredBook:
    """One book of the server.

    Attributes:
        name: its name, which is that of its database.
        bytes: its size on disk, without files of a lake.
        sessions: database sessions that are open on it, of commands, schedulers and readers.
    """

    name: str
    bytes: int
    sessions: int


def address_of(server: str, book: str) -> str:
    """Return the address of a book of a server.

    Args:
        server: the address of any database of the server.
    """
    return urlsplit(server)._replace(path=f"/{book}").geturl()


async def stored(server: str) -> list[StoredBook]:
    """Return the books of a server, by name."""
    async with _connection(server) as connection:
        return [
            StoredBook(row["name"], row["bytes"], row["sessions"])
            for row in await connection.fetch(sql("books").text)
        ]


async def require(server: str, book: str) -> None:
    """Require that there is a book of this name.

    Raises:
        UsageError: no book may have this name.
        NotFoundError: there is none; the message names those that there are.
    """
    if not is_book_name(book):
        raise UsageError(f"{book!r} is no book: {BOOK_NAMES}")
    async with _connection(server) as connection:
        if await connection.fetchval(sql("book_exists").positional, book):
            return
    names = ", ".join(each.name for each in await stored(server))
    raise NotFoundError(
        f"there is no book {book!r}: there are {names}. `revalue migrate --book {book}` creates it"
    )


async def create(server: str, book: str) -> None:
    """Create a book unless there is one of this name: an empty database, without a schema."""
    async with _connection(server) as connection:
        if await connection.fetchval(sql("book_exists").positional, book):
            return
        # Another command may create it at the same time.
        with suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            await connection.execute(
                await connection.fetchval(sql("create_book").positional, book),
                timeout=_CREATE_SECONDS,
            )


async def delete(server: str, book: str) -> None:
    """Delete a book with all of its data.

    Raises:
        NotFoundError: there is no such book.
        UsageError: no book may have this name, or it is the server's first database, which cannot
            be deleted.
        BookInUseError: database sessions are open on it; the message says whose.
    """
    if book == FIRST_BOOK:
        raise UsageError(
            f"the book {FIRST_BOOK} is the server's first database, which other books are made and "
            f"deleted from: `revalue migrate base --book {FIRST_BOOK}` removes all that is in it"
        )
    await require(server, book)
    async with _connection(server) as connection:
        sessions = await _sessions(connection, book)
        if sessions:
            raise BookInUseError(
                f"the book {book!r} is in use, and stays: database sessions are open on it, of "
                + "; ".join(_described(session) for session in sessions)
                + ". End them first: a scheduler by `revalue drain`"
            )
        try:
            # Sessions that begin meanwhile are refused by the server, or refuse this.
            await connection.execute(
                await connection.fetchval(sql("drop_book").positional, book),
                timeout=_CREATE_SECONDS,
            )
        except asyncpg.ObjectInUseError as error:
            raise BookInUseError(f"the book {book!r} is in use, and stays: {error}") from error
        except asyncpg.InvalidCatalogNameError as error:
            raise NotFoundError(f"the book {book!r} was deleted meanwhile") from error


async def _sessions(
    connection: "asyncpg.Connection[asyncpg.Record]", book: str
) -> list[asyncpg.Record]:
    """Return the sessions that are open on a book, but for those that are about to end.

    The server knows a session for some milliseconds after its program has closed it.
    """
    end = monotonic() + _ENDING_SECONDS
    while (
        sessions := await connection.fetch(sql("book_sessions").positional, book)
    ) and monotonic() < end:
        await asyncio.sleep(0.05)
    return sessions


def _described(session: asyncpg.Record) -> str:
    since = f"{session['began']:%Y-%m-%d %H:%M:%S %Z}".rstrip()
    return f"{session['application'] or 'a program'} (pid {session['pid']}, since {since})"


@asynccontextmanager
async def _connection(server: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Give a connection to the first database, outside of a transaction."""
    with translated_errors():
        connection = await connect(address_of(server, FIRST_BOOK), seconds=SHORT_SECONDS)
        try:
            yield connection
        finally:
            await connection.close(timeout=SHORT_SECONDS)
