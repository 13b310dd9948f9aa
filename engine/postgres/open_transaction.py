"""An open transaction in which several parts run: all of them are committed, or none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from revalue.engine.postgres.database import Connections, Isolation
from revalue.engine.postgres.statement import Connection


class OpenTransaction:
    """Connections whose every transaction is the one that is already open on a connection.

    What runs on it is committed or rolled back together with that transaction. It makes no
    savepoints, so that all rows have the transaction's own id (xmin).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self, *, seconds: float | None = None) -> AsyncIterator[Connection]:
        """Give the connection of the open transaction."""
        yield self._connection

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = "read_committed",
        readonly: bool = False,
        seconds: float | None = None,
    ) -> AsyncIterator[Connection]:
        """Give the open transaction; its isolation is what it was opened with."""
        yield self._connection


@asynccontextmanager
async def rolled_back(database: Connections) -> AsyncIterator[OpenTransaction]:
    """Give a transaction in which to find out what a change would do: nothing of it is written."""
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield OpenTransaction(connection)
        finally:
            await transaction.rollback()
