"""Valuation jobs: their state, those that failed for good, and how to retry them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import index
from typing import Any, TypeAlias

import polars as pl

from revalue.engine.argument_types import require_limit
from revalue.engine.book.open_database import Part
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import UsageError
from revalue.engine.operate.job_filter import MAX_ID
from revalue.engine.operate.job_list import list_jobs, read_job
from revalue.engine.operate.retries import Retried, retry, retry_failed
from revalue.engine.operate.status import list_dead_letters
from revalue.engine.read.refusals import require_existing

MAX_LIMIT = 10_000
"""So many spans or dead letters can be listed at once."""

_Columns: TypeAlias = Mapping[str, pl.DataType | type[pl.DataType]]

_TIME = pl.Datetime("us", "UTC")
_SPAN_COLUMNS: _Columns = {
    "portfolio_id": pl.String,
    "security_id": pl.String,
    "status": pl.String,
    "epoch": pl.Int64,
    "first_date": pl.Date,
    "last_date": pl.Date,
    "valued_through": pl.Date,
    "trigger_id": pl.Int64,
}
_JOB_COLUMNS: _Columns = {
    "job_id": pl.Int64,
    "portfolio_id": pl.String,
    "security_id": pl.String,
    "status": pl.String,
    "lane": pl.String,
    "epoch": pl.Int64,
    "first_date": pl.Date,
    "last_date": pl.Date,
    "valued_through": pl.Date,
    "attempt_count": pl.Int64,
    "rows_written": pl.Int64,
    "failure_reason": pl.String,
    "trigger_id": pl.Int64,
    "term": pl.Int64,
    "task_id": pl.Int64,
    "created_at": _TIME,
    "finished_at": _TIME,
}
_DEAD_LETTER_COLUMNS: _Columns = {
    "dead_letter_id": pl.Int64,
    "job_id": pl.Int64,
    "portfolio_id": pl.String,
    "security_id": pl.String,
    "epoch": pl.Int64,
    "first_date": pl.Date,
    "last_date": pl.Date,
    "status": pl.String,
    "attempt_count": pl.Int64,
    "failure_reason": pl.String,
    "died_at": _TIME,
    "requeued_at": _TIME,
}
_FAILURE_COLUMNS: _Columns = {
    "dead_letter_id": pl.Int64,
    "attempt_count": pl.Int64,
    "failure_reason": pl.String,
    "traceback": pl.String,
    "died_at": _TIME,
    "requeued_at": _TIME,
}


@dataclass(frozen=True, eq=False)
class Job:
    """One valuation job as a whole.

    Attributes:
        job_id: its id.
        status: PENDING, PROCESSING, COMPLETE, SKIPPED_NO_POSITION, WAITING_FOR_DATA, FAILED or
            SUPERSEDED.
        lane: LIVE: only the newest dates of its positions are due; HISTORY: the others.
        span_count: how many spans it has: a span is one position with one range of its dates.
        first_date, last_date: the dates of all spans, both included.
        valued_through: through which date everything is valued, or lacks data; None: nothing yet.
        attempt_count: the attempts that count toward settings.max_attempts.
        rows_written: the position-days that it has written; None: it is not done.
        failure_reason: why it waits or failed; None: it does neither.
        term: that of the scheduler that started it last.
        task_id: the task that it belongs to; 0: none.
        created_at: when it was staged.
        finished_at: when it ended; None: it has not.
        spans: its first spans, by position and date: portfolio_id, security_id, status (text),
            epoch (Int64), first_date, last_date (both included), valued_through (Date),
            trigger_id (Int64; of the correction that is the cause; null: none).
        dead_letters: its failures for good, the oldest first: dead_letter_id, attempt_count
            (Int64), failure_reason, traceback (text), died_at, requeued_at (Datetime in UTC; null:
            it was not retried since).
    """

    job_id: int
    status: str
    lane: str
    span_count: int
    first_date: date
    last_date: date
    valued_through: date | None
    attempt_count: int
    rows_written: int | None
    failure_reason: str | None
    term: int
    task_id: int
    created_at: datetime
    finished_at: datetime | None
    spans: pl.DataFrame
    dead_letters: pl.DataFrame


class Jobs(Part):
    """`Book.jobs`: valuation jobs, those that failed for good, and how to retry them."""

    def list(
        self,
        *,
        status: JobStatus | str | None = None,
        portfolio: str | None = None,
        security: str | None = None,
        limit: int = 20,
    ) -> pl.DataFrame:
        """Return the spans of the newest jobs: each position with a range of its dates.

        Args:
            status: only spans with this status, as of `Job`.
            portfolio: only spans of this portfolio.
            security: only spans of this security.
            limit: how many spans, at most; from 1 to 10,000.

        Returns:
            One row per span, the newest job first, then by position and date:

            * job_id (Int64), portfolio_id, security_id (text);
            * status (text): that of the job, or SUPERSEDED if the job is unfinished and the
              position has a newer epoch;
            * lane (text; LIVE or HISTORY), epoch (Int64);
            * first_date, last_date (both included), valued_through (Date; null: not done);
            * attempt_count (Int64), rows_written (Int64, position-days; null: the job has other
              spans, or is not done), failure_reason (text; null: it neither waits nor failed);
            * trigger_id (Int64; of the correction that is the cause; null: none), term, task_id
              (Int64), created_at, finished_at (Datetime in UTC; null: not done).

        Raises:
            UsageError: there is no such status or limit.
            NotFoundError: there is no such portfolio or security.
        """
        require_limit("limit", limit, MAX_LIMIT)
        return self._wait(self._list(status, portfolio, security, limit))

    def get(self, job_id: int, *, spans: int = 20) -> Job:
        """Return one job, with its first spans and the traceback of each of its failures.

        Args:
            job_id: its id.
            spans: how many of its spans, at most; from 1 to 10,000.

        Raises:
            NotFoundError: there is no such job.
            UsageError: this cannot be the id of a job, or there is no such limit.
        """
        require_limit("spans", spans, MAX_LIMIT)
        found = self._wait(read_job(self._database, _job_id(job_id), spans=spans))
        first, failures = found.pop("spans"), found.pop("dead_letters")
        return Job(
            **found,
            spans=_frame(first, _SPAN_COLUMNS),
            dead_letters=_frame(failures, _FAILURE_COLUMNS),
        )

    def dead_letters(
        self, *, portfolio: str | None = None, every: bool = False, limit: int = 20
    ) -> pl.DataFrame:
        """Return the jobs that failed for good, the newest failure first.

        `get` has the traceback of each, `retry` requeues it.

        Args:
            portfolio: only those of this portfolio.
            every: also those that were retried or superseded since.
            limit: how many, at most; from 1 to 10,000.

        Returns:
            One row per failure: dead_letter_id, job_id (Int64), portfolio_id, security_id (text),
            epoch (Int64), first_date, last_date (Date, both included), status (text; that of the
            job now), attempt_count (Int64), failure_reason (text), died_at, requeued_at (Datetime
            in UTC; null: it was not retried).

        Raises:
            NotFoundError: there is no such portfolio.
            UsageError: there is no such limit.
        """
        require_limit("limit", limit, MAX_LIMIT)
        return self._wait(self._dead_letters(portfolio, every, limit))

    def retry(self, job_ids: int | Iterable[int]) -> Retried:
        """Requeue failed or waiting jobs with new attempts: the next `Book.value` runs them.

        Args:
            job_ids: the id of a job, or several, for example a column job_id.

        Returns:
            Which are requeued, and which are not, because they are complete, in flight or
            superseded.

        Raises:
            NotFoundError: one does not exist; nothing is requeued then.
            UsageError: one cannot be the id of a job.
        """
        asked = job_ids if isinstance(job_ids, Iterable) else [job_ids]
        return self._wait(retry(self._database, [_job_id(each) for each in asked]))

    def retry_failed(self) -> Retried:
        """Requeue, as `retry`, every job that failed for good and whose dates are still due."""
        return self._wait(retry_failed(self._database))

    async def _list(
        self, status: str | None, portfolio: str | None, security: str | None, limit: int
    ) -> pl.DataFrame:
        rows = await list_jobs(
            self._database, status=status, portfolio=portfolio, security=security, limit=limit
        )
        return _frame(rows, _JOB_COLUMNS)

    async def _dead_letters(self, portfolio: str | None, every: bool, limit: int) -> pl.DataFrame:
        named = None if portfolio is None else [portfolio]
        async with self._database.connection() as connection:
            await require_existing(connection, portfolios=named, securities=None)
        rows = await list_dead_letters(
            self._database,
            still_failed=not every,
            portfolios=named,
            limit=limit,
        )
        return _frame(rows, _DEAD_LETTER_COLUMNS)


def _frame(rows: Sequence[Mapping[str, Any]], columns: _Columns) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(columns))


def _job_id(value: object) -> int:
    """Return the id of a job as an int. Integers of numpy are accepted too.

    Raises:
        UsageError: it cannot be the id of a job.
    """
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if not 0 < number <= MAX_ID:
        raise UsageError(f"{value!r} is not the id of a job")
    return number
