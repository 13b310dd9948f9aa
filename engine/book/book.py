"""An open book: the calls of every day, and the parts that have the others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import Unpack

from revalue.engine.book.exceptions import Exceptions
from revalue.engine.book.jobs import Jobs
from revalue.engine.book.loads import Loads
from revalue.engine.book.open_database import OpenDatabase
from revalue.engine.book.reads import Reads
from revalue.engine.book.writes import Writes
from revalue.engine.operate.prune import OnProgress as OnPruneProgress
from revalue.engine.operate.prune import Pruned, prune
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres import embedded
from revalue.engine.runtime import OnProgress, Run, runtime
from revalue.engine.settings import GivenSettings, Settings, settings_of


def connect(
    database_url: str | None = None,
    *,
    book: str | None = None,
    migrate: bool = False,
    **settings: Unpack[GivenSettings],
) -> "Book":
    """Open a book.

    Args:
        database_url: a postgresql:// address. None: REVALUE_DATABASE_URL, else the embedded server,
            which is started if it does not run.
        book: the name of a book of the embedded server. None: REVALUE_BOOK, else its first one.
        migrate: bring the schema of the database to this version first, and create the book if
            there is none of that name.
        settings: fields of revalue.engine.settings.Settings. What is not given is taken from
            REVALUE_ variables.

    Raises:
        SchemaVersionError: the schema has another version, and `migrate` is False.
        NotFoundError: there is no such book, and `migrate` is False.
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        UsageError: the address or a setting is wrong.
    """
    given = {"database_url": database_url, "book": book}
    chosen = settings_of(**settings, **{name: each for name, each in given.items() if each})
    return Book(embedded.address(chosen, creates=migrate), chosen, migrate=migrate)


class Book(Reads, Exceptions, Writes):
    """An open book. Close it, or use it as a context manager.

    It may be used where an event loop runs, for example in a notebook.

    Attributes:
        url: the address of the database.
        settings: the settings in use.
        loads: the record of loads, and taking one back.
        jobs: valuation jobs, dead letters, and retrying them.
    """

    loads: Loads
    jobs: Jobs

    def __init__(self, url: str, settings: Settings, *, migrate: bool = False) -> None:
        opened = OpenDatabase(url, settings, migrate=migrate)
        super().__init__(opened)
        self.url = url
        self.settings = opened.settings
        self.loads = Loads(opened)
        self.jobs = Jobs(opened)

    def __enter__(self) -> "Book":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The embedded server continues to run, until `revalue down`."""
        self._opened.close()

    def value(self, *, through: date | None = None, on_progress: OnProgress | None = None) -> Run:
        """Value everything that is due, until nothing is left that can be valued.

        Due are the business days that are opened (see `open`), and what corrections affect.

        Runs in this process if less than about 200,000 position-days are due, else on Ray: the one
        that this process is connected to, else at settings.ray_address, else a local one of its
        own. If one of the first two is there, always on Ray. `connect(runtime=...)` takes one.

        Args:
            through: first open the business days of all calendars up to this day, as `open`.
            on_progress: called with the progress of the run.

        Returns:
            The run. `run.status.is_current` says whether every position is current.

        Raises:
            LeaderActiveError: another scheduler is at work on this database.
            RevalueError: what `open` raises, or what ended the run.
        """
        if through is not None:
            self.open(through)
        run = runtime(self.settings.runtime)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run(self.url, self.settings, on_progress=on_progress)
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(run, self.url, self.settings, on_progress=on_progress).result()

    def status(self, *, exact: bool = False) -> Status:
        """Return the state of the positions and of the scheduler.

        More than 20,000 positions are not counted for every question: `counted_at` says when they
        were, and `is_current` is of now all the same.

        Args:
            exact: count them now, unless nothing can have changed them since they were counted.
        """
        return self._wait(read_status(self._database, exact=exact))

    def prune(
        self,
        *,
        keep: timedelta | None = None,
        before: datetime | None = None,
        dry_run: bool = False,
        on_progress: OnPruneProgress | None = None,
    ) -> Pruned:
        """Delete what only readers of earlier times need. It cannot be restored.

        The retention floor is raised to a time, and only rises: `known_at` before it is an error
        from then on. All answers since the floor stay what they were. A scheduler and readers may
        run meanwhile. A prune that was interrupted is run again.

        Args:
            keep: the floor is so long before now, by the database's clock.
            before: the floor; give this or `keep`.
            dry_run: only count what would be deleted.
            on_progress: called after each transaction. What it raises ends the prune.

        Raises:
            UsageError: the floor is not in the past.
            AccessDeniedError: the user is not the owner of the tables.
            WriteConflictError: a table is locked by another session. What was deleted stays so.
        """
        return self._wait(
            prune(
                self._database,
                keep=keep,
                before=before,
                dry_run=dry_run,
                on_progress=on_progress,
            )
        )
