"""The public Python API. A book is a database of positions: load, correct, value and read it.

All calls block. Dates are datetime.date, amounts decimal.Decimal, frames polars. Every error is a
RevalueError: a PermanentError is the same when the call is repeated without a change, after a
TransientError (DatabaseUnavailableError, WriteConflictError, StatementCancelledError,
PlanTooLongError) the call may be repeated.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as with_changes
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

import polars as pl
import pyarrow as pa

from revalue.engine.argument_types import require_day, require_day_or_none, require_decimal
from revalue.engine.changes import Change
from revalue.engine.correct import confirmations, corrections
from revalue.engine.correct.authors import Author, Signed, local_author
from revalue.engine.correct.confirmations import Confirmable
from revalue.engine.correct.corrections import Correction, FileCorrection
from revalue.engine.correct.ingest import Kind, LoadResult, known_kind, load
from revalue.engine.correct.loads import Load, list_loads
from revalue.engine.correct.openings import Opening, open_calendars
from revalue.engine.correct.reverts import Revert, log_revert, revert
from revalue.engine.correct.splits import SplitCorrection
from revalue.engine.errors import UsageError
from revalue.engine.export.export import Exported, Format, export
from revalue.engine.export.export import OnProgress as OnExportProgress
from revalue.engine.operate.prune import OnProgress as OnPruneProgress
from revalue.engine.operate.prune import Pruned, prune
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Connections, Database, rolled_back
from revalue.engine.preview.preview import OnProgress as OnPreviewProgress
from revalue.engine.preview.preview import OnRows, Preview, preview
from revalue.engine.read import queries, report
from revalue.engine.read.changes import changes
from revalue.engine.read.exceptions import (
    MOVE_PERCENT,
    MOVERS,
    Limits,
    exceptions,
    shown_value,
)
from revalue.engine.read.explain import Explanation, explain
from revalue.engine.read.files import write_file
from revalue.engine.runtime import OnProgress, Run, runtime
from revalue.engine.settings import GivenSettings, Settings, settings_of

T = TypeVar("T")


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


class Book:
    """An open book. Close it, or use it as a context manager.

    It may be used where an event loop runs, for example in a notebook.

    Attributes:
        url: the address of the database.
        settings: the settings in use.
    """

    def __init__(self, url: str, settings: Settings, *, migrate: bool = False) -> None:
        self.url = url
        self._is_embedded = settings.database_url is None
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
        """Close the connections. The embedded server continues to run, until `revalue down`."""
        if self._thread.is_alive():
            self._wait(self._database.close())
            self._stop()

    def load(
        self,
        kind: Kind | str,
        source: Path | str | pl.DataFrame | pa.Table,
        *,
        replace: bool = False,
        snapshot: bool = False,
        allow_empty: bool = False,
        dry_run: bool = False,
    ) -> LoadResult:
        """Validate and load all rows of an input, or none of them.

        Loading the same input again changes nothing. A load may correct what is valued already:
        the affected position-days are restated by `value`.

        Args:
            kind: business_dates, portfolios, instruments, fx_rates, prices or positions, in this
                order. revalue.engine.correct.ingest.COLUMNS has the columns of each.
            source: the name of a .parquet, .csv or .csv.gz file, a polars frame, or an Arrow table.
            replace: of positions: replace the history of each position from the earliest date that
                is given for it: later records that the input does not give are removed. Otherwise
                a record replaces one of the same date, and all others stay.
            snapshot: of positions: the input is all that its portfolios hold on its one date. What
                they hold besides is closed on it, by a record with quantity 0.
            allow_empty: a file without rows is no error. A frame or table may always have none.
            dry_run: only find out what the load would do, and write nothing.

        Returns:
            How many rows were inserted, changed and unchanged, which position records were removed,
            and which positions were closed.

        Raises:
            UsageError: there is no such kind, or `replace` or `snapshot` does not go with it.
            InvalidInputError: the input cannot be read, a file has no rows, or rows break a rule
                (.problems).
            CorrectionRefusedError: the database refuses the change.
            TransientError: the database is unavailable or busy.
        """
        run = partial(
            load,
            kind=kind,
            source=source,
            replace=replace,
            snapshot=snapshot,
            allow_empty=allow_empty,
        )
        return self._wait(self._load(run, dry_run=dry_run))

    async def _load(
        self, run: Callable[[Connections], Awaitable[LoadResult]], *, dry_run: bool
    ) -> LoadResult:
        if dry_run:
            async with rolled_back(self._database) as inside:
                return with_changes(await run(inside), load_id=None)
        loaded = await run(self._database)
        if self._is_embedded:
            await embedded.release_log(self._database)
        return loaded

    def open(
        self, day: date, calendar: str | Sequence[str] | None = None, *, back: bool = False
    ) -> list[Opening]:
        """Open the business days up to a day: the next `value` values them.

        Loading business dates makes nothing due, so calendars can be loaded for years ahead. What
        is opened already stays as it is.

        Args:
            day: the day. In each calendar that is named, it has to be a business day.
            calendar: a calendar, or several. None: all, and because holidays differ each is opened
                through its last business day at or before `day`.
            back: also move calendars back that are opened through a later day. The values of the
                days after it are withdrawn; `known_at` still has them.

        Returns:
            What was done to each calendar.

        Raises:
            NotFoundError: there is no such calendar.
            InvalidInputError: the day is not a business day of a calendar that is named, or its
                business dates are not loaded up to the day.
            CorrectionRefusedError: a calendar is opened through a later day, and `back` is not set.
            TransientError: the database is unavailable or busy.
        """
        require_day("day", day)
        calendars = [calendar] if isinstance(calendar, str) else calendar
        return self._wait(open_calendars(self._database, day, calendars, back=back))

    def correct(
        self, change: Change, *, why: str | None = None
    ) -> Correction | FileCorrection | SplitCorrection:
        """Make a correction. The affected position-days are restated by `value`.

        Args:
            change: a Price, Rate, DeletePrice, DeleteRate, Position or Split, or a FileOf many of
                one kind.
            why: the reason. It is shown, with who has made the correction, where its changes are.

        Returns:
            What was corrected, and how many positions and which dates it affects at most.

        Raises:
            NotFoundError: the price or rate is not stored; nobody holds what is split.
            InvalidInputError: a number or name is wrong; of a FileOf with .problems.
            CorrectionRefusedError: the database refuses the change, or the split was made already.
            TransientError: the database is unavailable or busy.
        """
        return self._wait(self._correct(change, local_author(why)))

    def preview(
        self,
        change: Change,
        *,
        movers: int = 10,
        on_rows: OnRows | None = None,
        on_progress: OnPreviewProgress | None = None,
    ) -> Preview:
        """Return what `correct` would do: it is made and rolled back, and valued.

        Args:
            change: as of `correct`.
            movers: how many movers per base currency, at most.
            on_rows: called, in another thread, with each page of rows that would be written: the
                columns of daily_position_snapshots without job_id and epoch.
            on_progress: called, in another thread, with the number of position-days that are
                valued, and of all of them.

        Raises:
            WriteConflictError: a writer is at work on the same data.
            PlanTooLongError: the plan would take longer than settings.preview_seconds.
            PreviewTooLargeError: the preview would take too much memory.
            RevalueError: what `correct` raises.
        """
        return self._wait(
            preview(
                self._database,
                change.apply,
                self.settings,
                movers=movers,
                on_rows=on_rows,
                on_progress=on_progress,
            )
        )

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

    def loads(self, kind: Kind | str | None = None, *, most: int = 20) -> list[Load]:
        """Return what is recorded of the newest loads: who, when, which file, what became of it.

        Args:
            kind: only loads of this kind.
            most: how many, at most.

        Raises:
            UsageError: there is no such kind.
        """
        named = None if kind is None else known_kind(kind)
        return self._wait(list_loads(self._database, kind=named, most=most))

    def revert(self, load_id: int, *, keep_later: bool = False, dry_run: bool = False) -> Revert:
        """Take a load back: what it has replaced is restored, and what it has added is deleted.

        That is a correction, which `value` restates, and a load of its own, which can be taken
        back, too.

        Args:
            load_id: the number of a load of prices, fx_rates or positions (`loads`).
            keep_later: leave rows that were changed after the load as they are, and take the others
                back. Without it they are an error.
            dry_run: only find out what would be done, and write nothing.

        Raises:
            NotFoundError: no such load is recorded.
            UsageError: it cannot be taken back: it is of another kind, or has changed nothing.
            CorrectionRefusedError: rows were changed since, and `keep_later` is not set.
            TransientError: the database is unavailable or busy.
        """
        return self._wait(self._revert(load_id, keep_later=keep_later, dry_run=dry_run))

    async def _revert(self, load_id: int, *, keep_later: bool, dry_run: bool) -> Revert:
        if dry_run:
            async with rolled_back(self._database) as inside:
                done = await revert(inside, load_id, keep_later=keep_later)
                return with_changes(done, load_id=None)
        done = await revert(self._database, load_id, keep_later=keep_later)
        log_revert(done)
        return done

    def prune(
        self,
        *,
        keep: timedelta | None = None,
        before: datetime | None = None,
        dry_run: bool = False,
        on_progress: OnPruneProgress | None = None,
    ) -> Pruned:
        """Delete what only readers of earlier times need. What is deleted cannot be had back.

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

    def valuations(
        self,
        *,
        portfolio: str | None = None,
        security: str | None = None,
        first_date: date | None = None,
        last_date: date | None = None,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Return the valued position-days that readers see.

        Args:
            portfolio: only this portfolio.
            security: only this security.
            first_date: only this date and later ones.
            last_date: only this date and earlier ones.
            known_at: a time with a zone: what the same call gave at that time (bitemporal: the
                transaction time). None: now.

        Returns:
            One row per position-day, ordered by portfolio_id, security_id and date:

            * portfolio_id, security_id, base_currency, local_currency (text), date;
            * valuation_status: VALUED_CURRENT, or VALUED_STALE if the price or a rate is older
              than the date;
            * reprocessing_status: IN_PROGRESS while the position reprocesses a correction (its rows
              are those of before), else CURRENT;
            * quantity, cost_basis_local, cost_basis, market_value_local, market_value,
              unrealized_gain_local, unrealized_gain (Decimal(38, 10)): with `_local` in
              local_currency, else in base_currency;
            * price (in local_currency), fx_rate (base_currency per local_currency)
              (Decimal(38, 18)), price_date, fx_date: null on a closing date;
            * epoch: raised by each correction of the position.

        Raises:
            NotFoundError: there is no such portfolio or security.
            NotYetKnownError: `known_at` is in the future.
            NoLongerKnownError: `known_at` is before the retention floor.
            UsageError: `known_at` has no time zone, or a date is none.
        """
        require_day_or_none("first_date", first_date)
        require_day_or_none("last_date", last_date)
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
        """Return `valuations` as an Arrow table."""
        frame = self.valuations(
            portfolio=portfolio,
            security=security,
            first_date=first_date,
            last_date=last_date,
            known_at=known_at,
        )
        return frame.to_arrow(compat_level=pl.CompatLevel.oldest())

    def positions(
        self,
        last_date: date | None = None,
        *,
        first_date: date | None = None,
        portfolios: Sequence[str] | None = None,
        securities: Sequence[str] | None = None,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Return the open positions of a date, or of every date of a range.

        A position without a value is a row too, so that nothing is left out without a word.

        Args:
            last_date: without first_date: of each portfolio the last opened business date at or
                before it. None: the last one that is opened.
            first_date: every opened business date from it to last_date (both included).
            portfolios: only these. None: all.
            securities: only these. None: all.
            known_at: as of `valuations`.

        Returns:
            One row per open position and date, ordered by date, portfolio_id and security_id: the
            columns of `valuations`; price_effect and fx_effect (Decimal(38, 10), in base_currency,
            which add up to unrealized_gain); failure_reason: why there is no value. Without a
            value valuation_status is WAITING_FOR_DATA or FAILED (data are missing or wrong), or
            NOT_VALUED (not yet), and amounts, price, rate and their dates are null.

        Raises:
            NotFoundError: there is no such portfolio or security, or nothing is opened.
            UsageError: as of `valuations`; or first_date is after last_date.
        """
        wanted = _wanted(last_date, first_date, portfolios, securities, known_at)
        return self._wait(_all(report.positions(self._database, wanted)))

    def totals(
        self,
        last_date: date | None = None,
        *,
        first_date: date | None = None,
        portfolios: Sequence[str] | None = None,
        securities: Sequence[str] | None = None,
        known_at: datetime | None = None,
        by: report.By = "portfolio",
    ) -> pl.DataFrame:
        """Return sums of `positions`, per portfolio or base currency and date.

        Args:
            last_date, first_date, portfolios, securities, known_at: as of `positions`.
            by: "portfolio", or "currency": one sum over all portfolios of a base currency.

        Returns:
            One row per portfolio (or base currency) and date: portfolio_id, base_currency, date;
            market_value, cost_basis, unrealized_gain, price_effect, fx_effect (Decimal(38, 10), in
            base_currency; null: no position has a value); and numbers of open positions: lines (all
            of them), lines_valued, lines_stale (valued at a price or rate older than the date),
            lines_waiting (without a value because data are missing or wrong), lines_missing (not
            valued yet) and lines_reprocessing. A position without a value is in no sum.

        Raises:
            RevalueError: as of `positions`.
        """
        wanted = _wanted(last_date, first_date, portfolios, securities, known_at)
        return self._wait(_all(report.totals(self._database, wanted, by=by)))

    def write_positions(
        self,
        file: Path | str,
        last_date: date | None = None,
        *,
        first_date: date | None = None,
        portfolios: Sequence[str] | None = None,
        securities: Sequence[str] | None = None,
        known_at: datetime | None = None,
    ) -> int:
        """Write `positions` into a file, with one date at a time in memory.

        Args:
            file: .csv, .parquet, .arrow or .xlsx; one of that name is replaced when all is written.
            last_date, first_date, portfolios, securities, known_at: as of `positions`.

        Returns:
            The number of rows.

        Raises:
            UsageError: there is no such format, or the file cannot be written.
            RevalueError: as of `positions`.
        """
        wanted = _wanted(last_date, first_date, portfolios, securities, known_at)
        frames = report.positions(self._database, wanted)
        return self._wait(write_file(Path(file), report.REPORT_COLUMNS, frames))

    def export(
        self,
        target: Path | str,
        *,
        format: Format,
        on_progress: OnExportProgress | None = None,
    ) -> Exported:
        """Write all published numbers as a table for other engines, or bring that table in step.

        The table has what `valuations` gives at one moment, without reprocessing_status, and
        price_effect and fx_effect of `positions`. Only months in which a number changed since the
        last export are written, and readers of the table see all of them at once.

        Args:
            target: a folder, or s3://BUCKET/PREFIX: empty, or a table that was exported from this
                database in this format.
            format: "iceberg", "delta", or "parquet": files and a list of them, current.json.
            on_progress: called after each month. What it raises ends the export; the table stays
                what it was.

        Returns:
            What was written, and the moment and version of the table.

        Raises:
            UsageError: there is no such format, a package is missing (the extra `export`), or the
                target is another table or something else.
            NotFoundError: nothing is valued yet.
            ExportFaultError: the table at the target is damaged.
            StorageSetupError: the target is no folder, or does not let this user write.
            WriteConflictError: another export to the target is at work.
            TransientError: the target or the database cannot be reached now.
        """
        return self._wait(
            export(
                self._database,
                str(target),
                format=format,
                on_progress=on_progress or (lambda _: None),
            )
        )

    def exceptions(
        self,
        last_date: date | None = None,
        *,
        portfolios: Sequence[str] | None = None,
        securities: Sequence[str] | None = None,
        known_at: datetime | None = None,
        move_percent: float = MOVE_PERCENT,
        movers: int = MOVERS,
        confirmed: bool = False,
    ) -> pl.DataFrame:
        """Return what of a date is not right yet, or wants a look.

        Args:
            last_date, portfolios, securities, known_at: as of `positions`.
            move_percent: list prices and rates that moved by more than this percentage. An
                instrument with a move_limit_percent has its own.
            movers: list so many positions whose value moved most, per base currency.
            confirmed: also list the prices and rates that are confirmed (see `confirm_price`).

        Returns:
            One row per thing to look at and base currency, by kind and then by the market value
            that is concerned: kind (FAILED, NO_VALUE, NOT_VALUED, REPROCESSING, OLD_PRICE,
            OLD_RATE, PRICE_MOVE, RATE_MOVE, VALUE_MOVE), subject (a security, a pair of currencies,
            or a portfolio and a security), date, detail (text), move_percent (Float64), positions
            (how many are concerned), base_currency, market_value and change since the business date
            before (Decimal(38, 10)), value (of a price or rate that moved, Decimal(38, 18)),
            confirmed_by and why (text): see revalue.engine.read.exceptions.

        Raises:
            RevalueError: as of `positions`.
        """
        wanted = _wanted(last_date, None, portfolios, securities, known_at)
        limits = Limits(move_percent, movers, confirmed)
        return self._wait(exceptions(self._database, wanted, limits))

    def confirm_price(
        self, security: str, day: date, value: Decimal | None = None, *, why: str | None = None
    ) -> Decimal:
        """Confirm a price that moved far: `exceptions` lists it no more, until it is corrected.

        Args:
            security: the security.
            day: the business date on which it is shown.
            value: the price per unit, as in the column `value` of `exceptions`. None: the one that
                is shown now.
            why: a reason.

        Returns:
            The value that is confirmed.

        Raises:
            NotFoundError: there is no such security, or no position shows a price of it.
            UsageError: positions show different prices, because a correction is in progress.
            InvalidInputError: the value cannot be a price.
        """
        return self._wait(self._confirm(Confirmable.PRICE, security, day, value, why))

    def confirm_rate(
        self,
        local: str,
        base: str,
        day: date,
        value: Decimal | None = None,
        *,
        why: str | None = None,
    ) -> Decimal:
        """Confirm a rate that moved far, as `confirm_price`.

        Args:
            local: the currency of securities.
            base: the base currency of portfolios.
            day, value, why: as of `confirm_price`. The value is base currency per local currency.
        """
        return self._wait(self._confirm(Confirmable.RATE, f"{local}/{base}", day, value, why))

    def unconfirm_price(self, security: str, day: date) -> Decimal:
        """Withdraw the confirmation of a price: `exceptions` lists it again.

        Returns:
            The value that was confirmed.

        Raises:
            NotFoundError: it is not confirmed.
        """
        require_day("day", day)
        return self._wait(
            confirmations.unconfirm(
                self._database, Confirmable.PRICE, security, day, local_author()
            )
        )

    def unconfirm_rate(self, local: str, base: str, day: date) -> Decimal:
        """Withdraw the confirmation of a rate, as `unconfirm_price`."""
        require_day("day", day)
        return self._wait(
            confirmations.unconfirm(
                self._database, Confirmable.RATE, f"{local}/{base}", day, local_author()
            )
        )

    def changes(self, portfolio: str, security: str, day: date) -> pl.DataFrame:
        """Return every number that readers have seen of a position on a date, the oldest first.

        Returns:
            One row per number: published_at and superseded_at (from when to when it was shown;
            null: not known, or it is shown still), is_shown, the inputs and values of `valuations`,
            and of the correction that caused it cause (PRICE, FX, POSITION, ...; null: none),
            corrected_at, changed (the inputs that differ, text), corrected_by and why.

        Raises:
            NotFoundError: the portfolio has never held the security.
        """
        require_day("day", day)
        return self._wait(changes(self._database, portfolio, security, day))

    def explain(self, portfolio: str, security: str, day: date) -> Explanation:
        """Recompute one number from the present data, and compare it with the stored one.

        Returns:
            The steps of the computation in words, both numbers, and a verdict.

        Raises:
            NotFoundError: the portfolio has never held the security.
        """
        require_day("day", day)
        return self._wait(explain(self._database, portfolio, security, day))

    async def _confirm(
        self, kind: Confirmable, subject: str, day: date, value: Decimal | None, why: str | None
    ) -> Decimal:
        require_day("day", day)
        if value is None:
            value = await shown_value(self._database, kind, subject, day)
        require_decimal("value", value)
        await confirmations.confirm(self._database, kind, subject, day, value, local_author(why))
        return value

    async def _correct(
        self, change: Change, author: Author
    ) -> Correction | FileCorrection | SplitCorrection:
        made = await change.apply(Signed(self._database, author))
        corrections.log_correction(made)
        return made

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise UsageError("the book is closed: connect again")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _wanted(
    last_date: date | None,
    first_date: date | None,
    portfolios: Sequence[str] | None,
    securities: Sequence[str] | None,
    known_at: datetime | None,
) -> report.Wanted:
    require_day_or_none("last_date", last_date)
    require_day_or_none("first_date", first_date)
    return report.Wanted(
        last_date=last_date,
        first_date=first_date,
        portfolios=None if portfolios is None else tuple(portfolios),
        securities=None if securities is None else tuple(securities),
        known_at=known_at,
    )


async def _all(frames: AsyncIterator[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([frame async for frame in frames])
