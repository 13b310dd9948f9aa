"""Who makes a change, and why. It is recorded with the change, in its transaction."""

import getpass
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from revalue.engine.correct.inputs.problems import is_seen
from revalue.engine.errors import InvalidInputError
from revalue.engine.postgres.database import Connections, Isolation
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

MAX_CHARACTERS = 1000
"""How long a reason may be."""


@dataclass(frozen=True)
class Author:
    """Who makes a change, and why.

    Attributes:
        who: the name of the token by which it was asked for over HTTP, else the user of the
            operating system and the machine. The client says this; the database also records its
            own user.
        why: the reason in words; None: none is given.
    """

    who: str
    why: str | None = None

    def __post_init__(self) -> None:
        if self.why is None:
            return
        if not any(is_seen(each) for each in self.why.replace(" ", "")):
            raise InvalidInputError("the reason is empty: say why, or give none")
        if len(self.why) > MAX_CHARACTERS or "\0" in self.why:
            raise InvalidInputError(
                f"a reason has at most {MAX_CHARACTERS:,} characters, and no NUL"
            )


def client() -> str:
    """Return the user and the machine of this process; in a container a user may have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def local_author(why: str | None = None) -> Author:
    """Return the author of what this process does for its user.

    Raises:
        InvalidInputError: the reason is empty or too long.
    """
    return Author(client(), why)


def as_logged(author: Author | None) -> dict[str, str | None]:
    """Return the fields of a log line that name an author; None: nobody is named."""
    return {} if author is None else {"by": author.who, "why": author.why}


async def sign(connection: Connection, author: Author) -> datetime:
    """Record the author with every correction of a transaction, unless it has one already.

    Returns:
        The time, by the database's clock.
    """
    at: datetime = (await sql("sign").one(connection, who=author.who, why=author.why))["at"]
    return at


class Signed:
    """Connections whose transactions record the author of their corrections."""

    def __init__(self, database: Connections, author: Author) -> None:
        self._database = database
        self._author = author

    @asynccontextmanager
    async def connection(self, *, seconds: float | None = None) -> AsyncIterator[Connection]:
        """Give a connection for the duration of the block."""
        async with self._database.connection(seconds=seconds) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = "read_committed",
        readonly: bool = False,
        seconds: float | None = None,
    ) -> AsyncIterator[Connection]:
        """Give a transaction that records the author."""
        async with self._database.transaction(
            isolation=isolation, readonly=readonly, seconds=seconds
        ) as connection:
            await sign(connection, self._author)
            yield connection
