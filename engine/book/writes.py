"""What changes a book: its data are loaded and corrected, and its business days are opened."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace as with_changes
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa

from revalue.engine.argument_types import require_day
from revalue.engine.book.open_database import Part
from revalue.engine.changes import Change
from revalue.engine.correct.authors import Author, Signed, local_author
from revalue.engine.correct.calendars.openings import Opening, open_calendars
from revalue.engine.correct.corrections.corrections import Correction
from revalue.engine.correct.corrections.files import FileCorrection
from revalue.engine.correct.corrections.log import log_correction
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import LoadResult, load
from revalue.engine.correct.splits.splits import SplitCorrection
from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import rolled_back
from revalue.engine.preview.preview import OnProgress, OnRows, Preview, preview


class Writes(Part):
    """The calls of a book that change it, and the preview of a change."""

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
                order. revalue.engine.correct.inputs.kinds.COLUMNS has the columns of each.
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
            and which positions were closed; under `warnings`, which dates are in the future.

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
            What was corrected, and how many positions and which dates it affects at most; under
            `warnings`, that a date is in the future, or a price or rate far from the one before.

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
        on_progress: OnProgress | None = None,
    ) -> Preview:
        """Return what `correct` would do: it is made and rolled back, and valued.

        Args:
            change: as for `correct`.
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
                self._opened.settings,
                movers=movers,
                on_rows=on_rows,
                on_progress=on_progress,
            )
        )

    async def _load(
        self, run: Callable[[Connections], Awaitable[LoadResult]], *, dry_run: bool
    ) -> LoadResult:
        if dry_run:
            async with rolled_back(self._database) as inside:
                return with_changes(await run(inside), load_id=None)
        loaded = await run(self._database)
        if self._opened.is_embedded:
            await embedded.release_log(self._database)
        return loaded

    async def _correct(
        self, change: Change, author: Author
    ) -> Correction | FileCorrection | SplitCorrection:
        made = await change.apply(Signed(self._database, author))
        log_correction(made)
        return made
