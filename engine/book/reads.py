"""What readers see of a book: its numbers, now and at an earlier time, and where they come from."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from revalue.engine.argument_types import require_day, require_day_or_none
from revalue.engine.book.open_database import Part
from revalue.engine.export.export import Exported, Format, export
from revalue.engine.export.export import OnProgress as OnExportProgress
from revalue.engine.read import frames, report
from revalue.engine.read.changes import changes
from revalue.engine.read.explain import Explanation, explain
from revalue.engine.read.files import write_file


class Reads(Part):
    """The calls of a book that give its numbers."""

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
            frames.valuations(
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
        """Return `valuations` as an Arrow table: the same arguments, columns and errors."""
        frame = self.valuations(
            portfolio=portfolio,
            security=security,
            first_date=first_date,
            last_date=last_date,
            known_at=known_at,
        )
        return frame.to_arrow(compat_level=pl.CompatLevel.oldest())

    def history(
        self,
        portfolio: str,
        security: str,
        *,
        first_date: date | None = None,
        last_date: date | None = None,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Return the valued dates of one position that readers see, the first date first.

        Args:
            portfolio, security: the position.
            first_date, last_date, known_at: as for `valuations`; both dates are included.

        Returns:
            One row per date: the columns of `valuations`. No row: no date is valued yet.

        Raises:
            NotFoundError: the portfolio has never held the security.
            RevalueError: as for `valuations`.
        """
        require_day_or_none("first_date", first_date)
        require_day_or_none("last_date", last_date)
        return self._wait(
            frames.valuations_of_position(
                self._database,
                portfolio,
                security,
                first_date=first_date,
                last_date=last_date,
                known_at=known_at,
            )
        )

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

        A position without a value is a row too, so that nothing is left out silently.

        Args:
            last_date: without first_date: of each portfolio the last opened business date at or
                before it. None: the last one that is opened.
            first_date: every opened business date from it to last_date (both included).
            portfolios: only these. None: all.
            securities: only these. None: all.
            known_at: as for `valuations`.

        Returns:
            One row per open position and date, ordered by date, portfolio_id and security_id: the
            columns of `valuations`; price_effect and fx_effect (Decimal(38, 10), in base_currency,
            which add up to unrealized_gain); failure_reason: why there is no value. Without a
            value valuation_status is WAITING_FOR_DATA or FAILED (data are missing or wrong), or
            NOT_VALUED (not yet), and amounts, price, rate and their dates are null.

        Raises:
            NotFoundError: there is no such portfolio or security, or nothing is opened.
            UsageError: as for `valuations`; or first_date is after last_date.
        """
        wanted = wanted_report(last_date, first_date, portfolios, securities, known_at)
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
            last_date, first_date, portfolios, securities, known_at: as for `positions`.
            by: "portfolio", or "currency": one sum over all portfolios of a base currency.

        Returns:
            One row per portfolio (or base currency) and date: portfolio_id, base_currency, date;
            market_value, cost_basis, unrealized_gain, price_effect, fx_effect (Decimal(38, 10), in
            base_currency; null: no position has a value); and numbers of open positions: lines (all
            of them), lines_valued, lines_stale (valued at a price or rate older than the date),
            lines_waiting (without a value because data are missing or wrong), lines_missing (not
            valued yet) and lines_reprocessing. A position without a value is in no sum.

        Raises:
            RevalueError: as for `positions`.
        """
        wanted = wanted_report(last_date, first_date, portfolios, securities, known_at)
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
            last_date, first_date, portfolios, securities, known_at: as for `positions`.

        Returns:
            The number of rows.

        Raises:
            UsageError: there is no such format, or the file cannot be written.
            RevalueError: as for `positions`.
        """
        wanted = wanted_report(last_date, first_date, portfolios, securities, known_at)
        pages = report.positions(self._database, wanted)
        return self._wait(write_file(Path(file), report.REPORT_COLUMNS, pages))

    def export(
        self,
        target: Path | str,
        *,
        format: Format,
        on_progress: OnExportProgress | None = None,
    ) -> Exported:
        """Write all published numbers as a table for other engines, or update that table.

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

    def changes(self, portfolio: str, security: str, day: date) -> pl.DataFrame:
        """Return every number that readers have seen of a position on a date, the oldest first.

        Args:
            portfolio, security: the position.
            day: a business date.

        Returns:
            One row per number: published_at and superseded_at (Datetime in UTC; from when to when
            it was shown; null: not known, or it is still shown), is_shown (Boolean), the inputs
            and values of `valuations` in the same units, and of the correction that caused it
            cause (text: PRICE, FX, POSITION, ...; null: none), corrected_at (Datetime in UTC),
            changed (text: the inputs that differ), corrected_by and why (text).

        Raises:
            NotFoundError: the portfolio has never held the security.
        """
        require_day("day", day)
        return self._wait(changes(self._database, portfolio, security, day))

    def explain(self, portfolio: str, security: str, day: date) -> Explanation:
        """Recompute one number from the present data, and compare it with the stored one.

        Args:
            portfolio, security: the position.
            day: the date.

        Returns:
            The steps of the computation in words, both numbers, and a verdict.

        Raises:
            NotFoundError: the portfolio has never held the security.
        """
        require_day("day", day)
        return self._wait(explain(self._database, portfolio, security, day))


def wanted_report(
    last_date: date | None,
    first_date: date | None,
    portfolios: Sequence[str] | None,
    securities: Sequence[str] | None,
    known_at: datetime | None,
) -> report.Wanted:
    """Return what a call asks for.

    Raises:
        UsageError: a date is none.
    """
    require_day_or_none("last_date", last_date)
    require_day_or_none("first_date", first_date)
    return report.Wanted(
        last_date=last_date,
        first_date=first_date,
        portfolios=None if portfolios is None else tuple(portfolios),
        securities=None if securities is None else tuple(securities),
        known_at=known_at,
    )


async def _all(pages: AsyncIterator[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([frame async for frame in pages])
