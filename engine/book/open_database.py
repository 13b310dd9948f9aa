"""The database of an open book, and the thread that runs the engine's coroutines on it."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from revalue.engine.errors import UsageError
from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

T = TypeVar("T")


class OpenDatabase:
    """An open database, and a thread whose event loop runs coroutines on it.

    Because of the thread, the calls of a book can block, even where an event loop runs already, as
    in a notebook.

    Attributes:
        url: the address of the database.
        settings: the settings in use, with this address.
        is_embedded: whether it is a book of the embedded server.
        connections: the connections to it.
    """

    def __init__(self, url: str, settings: Settings, *, migrate: bool) -> None:
        """Open it.

        Raises:
            SchemaVersionError: the schema has another version, and `migrate` is False.
            DatabaseUnavailableError: PostgreSQL cannot be reached.
        """
        self.url = url
        self.settings = settings.model_copy(update={"database_url": url})
        self.is_embedded = settings.database_url is None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="revalue book", daemon=True
        )
        self._thread.start()
        try:
            if migrate:
                self.wait(schema.migrate(url))
            self.wait(schema.require_head(url))
            self.connections = self.wait(Database.open(url))
        except BaseException:
            self._stop()
            raise

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread; block until it ends, and return its result.

        Raises:
            UsageError: the database is closed.
        """
        if not self._thread.is_alive():
            work.close()
            raise UsageError("the book is closed: connect again")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Close the connections and end the thread. Closing again does nothing."""
        if self._thread.is_alive():
            self.wait(self.connections.close())
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Part:
    """A part of the API of an open book: each call runs a coroutine of the engine, and waits."""

    def __init__(self, opened: OpenDatabase) -> None:
        self._opened = opened

    @property
    def _database(self) -> Database:
        return self._opened.connections

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._opened.wait(work)
