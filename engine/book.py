"""The public Python API: a book is a database of positions, loaded, corrected, valued and read. Its calls block."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import polars as pl
import pyarrow as pa

from revalue.engine.correct import corrections
from revalue.engine.correct.corrections import Correction, FileCorrection
from revalue.engine.correct.ingest import Kind, LoadResult, load
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import Preview, preview
from revalue.engine.read import queries
from revalue.engine.read.explain import Explanation, explain
from revalue.engine.runtime import OnProgress, Run, runtime
from revalue.engine.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Price:
    """The price that a security has on a date should be `price`; its currency and quote basis stay."""

    security: str
    date: date
    price: Decimal

    async def apply(self, database: Connections) -> Correction:
        """Makes the correction."""
        return await corrections.price(database, self.security, self.date, self.price)


@dataclass(frozen=True)
class Rate:
    """On that date, 1 `base` should be `rate` `quote`."""

    base: str
    quote: str
    date: date
    rate: Decimal

    async def apply(self, database: Connections) -> Correction:
        """Makes the correction."""
        return await corrections.rate(database, self.base, self.quote, self.date, self.rate)


@dataclass(frozen=True)
class Position:
    """The absolute fact of one date; later facts stay. The costs are in the currencies of security and portfolio."""

    portfolio: str
    security: str
    date: date
    quantity: Decimal
    cost_basis_local: Decimal
    cost_basis: Decimal

    async def apply(self, database: Connections) -> Correction:
        """Makes the correction."""
        return await corrections.position(
            database,
            self.portfolio,
            self.security,
            self.date,
            self.quantity,
            self.cost_basis_local,
            self.cost_basis,
        )


@dataclass(frozen=True, eq=False)
class FileOf:
    """Every row of a file or frame, with the columns of one that loads prices, fx_rates or positions; all of it or none."""

    source: Path | str | pl.DataFrame | pa.Table

    async def apply(self, database: Connections) -> FileCorrection:
        """Makes the corrections."""
        return await corrections.file(database, self.source)


Change: TypeAlias = Price | Rate | Position | FileOf


def connect(database_url: str | None = None, *, migrate: bool = False, **settings: Any) -> "Book":
    """Opens a book: the database at a postgresql:// address, or the embedded one, which is started when it does not run.

    `migrate` brings its schema to this version. `settings` are fields of engine.settings.Settings; what is not given is
    taken from REVALUE_ variables. Raises SchemaVersionError, DatabaseUnavailableError, UsageError.
    """
    given = {**settings, **({"database_url": database_url} if database_url else {})}
    chosen = Settings(**given)
    return Book(embedded.address(chosen), chosen, migrate=migrate)


class Book:
    """An open book. Close it, or use it as a context manager; it may be used where an event loop runs, as in a notebook."""

    def __init__(self, url: str, settings: Settings, *, migrate: bool = False) -> None:
        self.url = url
        self.settings = settings.model_copy(update={"database_url": url})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="revalue book", daemon=True
        )
        self._thread.start()
        try:
            if migrate:
                self._wait(schema.migrate(url))
            self._wait(schema.require_head(url))
            self._database = self._wait(Database.open(url))
        except BaseException:
            self._stop()
            raise

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
        """Closes the connections. The embedded server goes on running, until `revalue down`."""
        if self._thread.is_alive():
            self._wait(self._database.close())
            self._stop()

    def load(
        self, kind: Kind | str, source: Path | str | pl.DataFrame | pa.Table, *, merge: bool = False
    ) -> LoadResult:
        """Validates and loads a file or frame (engine.ingest.COLUMNS has the columns of each kind); all of it or nothing.

        Loading the same again changes nothing. Raises UsageError, InvalidInputError (with .problems), TransientError.
        """
        return self._wait(load(self._database, kind, source, merge=merge))

    def correct(self, change: Change) -> Correction | FileCorrection:
        """Corrects; what it reaches is revalued by `value`. Raises NotFoundError, InvalidInputError, TransientError."""
        return self._wait(self._correct(change))

    def preview(self, change: Change, *, movers: int = 10) -> Preview:
        """What `correct` would do, by the engine's own plan; nothing is written. Raises what `correct` raises."""
        return self._wait(preview(self._database, change.apply, self.settings, movers=movers))

    def value(self, *, on_progress: OnProgress | None = None) -> Run:
        """Values what is owed until nothing is left that can be: on the Ray that this process is connected to, else at
        settings.ray_address, else on a local one of its own. `run.status` says whether every position is current.

        Raises LeaderActiveError when another scheduler is at work, and whatever ended the run.
        """
        run = runtime()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run(self.url, self.settings, on_progress=on_progress)
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(run, self.url, self.settings, on_progress=on_progress).result()

    def status(self) -> Status:
        """Where the positions stand."""
        return self._wait(read_status(self._database))

    def valuations(
        self,
        *,
        portfolio: str | None = None,
        security: str | None = None,
        first_date: date | None = None,
        last_date: date | None = None,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """The valued position-days that readers see, by portfolio_id, security_id and date; both dates included.

        Amounts are Decimal(38, 10), price and fx_rate Decimal(38, 18), in the currencies local_currency and base_currency.
        reprocessing_status is IN_PROGRESS while the position is being corrected: its rows are those of before.

        `known_at`, a time with a zone: what the same call gave then. Raises NotYetKnownError for one in the future.
        """
        return self._wait(
            queries.valuations(
                self._database,
                portfolio=portfolio,
                security=security,
                first_date=first_date,
                last_date=last_date,
                known_at=known_at,
            )
        )

    def valuations_arrow(
        self,
        *,
        portfolio: str | None = None,
        security: str | None = None,
        first_date: date | None = None,
        last_date: date | None = None,
        known_at: datetime | None = None,
    ) -> pa.Table:
        """The same as an Arrow table."""
        frame = self.valuations(
            portfolio=portfolio,
            security=security,
            first_date=first_date,
            last_date=last_date,
            known_at=known_at,
        )
        return frame.to_arrow(compat_level=pl.CompatLevel.oldest())

    def explain(self, portfolio: str, security: str, day: date) -> Explanation:
        """How a number came about, recomputed, and whether the stored one agrees. Raises NotFoundError."""
        return self._wait(explain(self._database, portfolio, security, day))

    async def _correct(self, change: Change) -> Correction | FileCorrection:
        made = await change.apply(self._database)
        corrections.log_correction(made)
        return made

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
