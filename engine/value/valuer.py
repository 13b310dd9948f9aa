"""Move 4, value: one task from its inputs to its commit. Runs in a valuation actor, or in any process."""

import asyncio
import traceback
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import polars as pl

from revalue.engine.core.lifecycle import FailureReason, JobStatus
from revalue.engine.core.market import decode_pair
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.core.valuation import SNAPSHOT_COLUMNS, Valued, value
from revalue.engine.errors import TransientError
from revalue.engine.fault_injection import fault_point
from revalue.engine.postgres.arrow import ArrowReader, encode_binary_copy
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement, statements
from revalue.engine.value.commit import OUTCOME_COLUMNS, finish
from revalue.engine.value.inputs import TaskInputs, read_inputs

sql = statements(__package__)

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRACEBACK_CHARACTERS = 8_000


class Valuer:
    """Values tasks, one at a time, over connections of its own."""

    def __init__(self, database: Database, reader: ArrowReader, *, max_attempts: int) -> None:
        self._database = database
        self._reader = reader
        self._max_attempts = max_attempts

    @classmethod
    async def open(cls, url: str, *, max_attempts: int, name: str = "") -> "Valuer":
        """Connects; `name`: by which its sessions can be ended from elsewhere. Raises DatabaseUnavailableError."""
        database = await Database.open(
            url, connections=1, application=application_name("valuer", name)
        )
        return cls(database, ArrowReader(url), max_attempts=max_attempts)

    async def close(self) -> None:
        """Closes the connections."""
        self._reader.close()
        await self._database.close()

    async def run(self, task: Task) -> TaskResult:
        """Values the task's jobs and commits them. Raises TransientError, with nothing written.

        A job whose data makes reading, computing or writing fail is found by halving the task; its neighbours are valued.
        """
        try:
            return await self._attempt(task)
        except TransientError:
            raise
        except (
            BaseException
        ) as error:  # the computing looks after itself: this was met in reading or in writing
            _require_failure(error)
            if task.first_job_id == task.last_job_id:
                return await self._failed(task, error)
        middle = (task.first_job_id + task.last_job_id) // 2
        low = await self.run(replace(task, last_job_id=middle))
        high = await self.run(replace(task, first_job_id=middle + 1))
        return low.merged(high, task)

    async def _attempt(self, task: Task) -> TaskResult:
        fault_point("value.begun")
        clock, sent = _Clock(), Statement.sent
        inputs = await asyncio.to_thread(read_inputs, self._reader, task)
        fault_point("value.read")
        clock.lap("read")
        if inputs is None:
            return TaskResult(task, jobs=0, rows=0, fenced=0)
        valued = compute(inputs, max_attempts=self._max_attempts)
        fault_point("value.computed")
        rows, outcomes = valued.rows, valued.outcomes
        clock.lap("compute")
        encoded = encode_binary_copy(rows) if len(rows) else []
        clock.lap("encode")
        fenced, written = await finish(
            self._database, task, rows, outcomes.select(OUTCOME_COLUMNS), encoded, clock.lap
        )
        return TaskResult(
            task,
            jobs=len(outcomes),
            rows=written,
            fenced=fenced,
            statuses=_counts(outcomes, "status"),
            reasons=_counts(outcomes.filter(pl.col("reason").is_not_null()), "reason"),
            seconds=clock.seconds,
            statements=Statement.sent - sent,
        )

    async def _failed(self, task: Task, error: BaseException) -> TaskResult:
        """One job whose inputs cannot be read, or whose rows cannot be written."""
        async with self._database.connection() as connection:
            job = await sql("failing_job").row(connection, job=task.first_job_id, task=task.task_id)
        if job is None:
            return TaskResult(task, jobs=0, rows=0, fenced=0)
        status, trace = _after_failure(job["attempt_count"], error, self._max_attempts)
        reason = FailureReason.UNEXPECTED_ERROR.value
        outcome = pl.DataFrame(
            {
                "job_id": [task.first_job_id],
                "status": [status],
                "valued_through": [None],
                "rows_written": [0],
                "failure_reason": [f"{reason} {job['security_id']} {job['first_date']}"],
                "traceback": [trace],
            },
            schema=dict(
                zip(
                    OUTCOME_COLUMNS,
                    (pl.Int64, pl.String, pl.Date, pl.Int32, pl.String, pl.String),
                    strict=True,
                )
            ),
        )
        fenced, _ = await finish(self._database, task, pl.DataFrame(), outcome, [])
        return TaskResult(
            task, jobs=1, rows=0, fenced=fenced, statuses={status: 1}, reasons={reason: 1}
        )


def compute(inputs: TaskInputs, *, max_attempts: int) -> Valued:
    """Values a task from its inputs alone. Its outcomes have failure_reason and traceback too; it raises nothing that a
    job's data can cause."""
    valued = _joined(list(_valued(inputs, max_attempts)))
    return replace(valued, outcomes=_named(valued.outcomes, inputs))


def _valued(inputs: TaskInputs, max_attempts: int) -> "Iterator[Valued]":
    try:
        yield _with_tracebacks(value(inputs.jobs, inputs.history, inputs.market))
    except (
        BaseException
    ) as error:  # whatever a job's data made fail: it must not take its neighbours with it
        _require_failure(error)
        if len(inputs.jobs) == 1:
            yield _failed(inputs.jobs, error, max_attempts)
            return
        middle = len(inputs.jobs) // 2
        for half in (inputs.jobs[:middle], inputs.jobs[middle:]):
            yield from _valued(replace(inputs, jobs=half), max_attempts)


def _with_tracebacks(valued: Valued) -> Valued:
    """A job that fails by a rule (OVERFLOW) fails at once: its dead letter says the rule in place of a traceback."""
    explained = pl.when(pl.col("status") == JobStatus.FAILED.value).then(
        pl.lit(
            "A market value, gain or unit price does not fit NUMERIC(28,10): see docs/valuation.md, section 4."
        )
    )
    return replace(
        valued, outcomes=valued.outcomes.with_columns(traceback=explained.cast(pl.String))
    )


def _failed(job: pl.DataFrame, error: BaseException, max_attempts: int) -> Valued:
    status, trace = _after_failure(job["attempt_count"][0], error, max_attempts)
    outcome = job.select(
        "job_id",
        rows_written=pl.lit(0, dtype=pl.Int32),
        reason=pl.lit(FailureReason.UNEXPECTED_ERROR.value),
        instrument_no="instrument_no",
        problem_date="first_date",
        problem_pair=pl.lit(None, dtype=pl.Int64),
        status=pl.lit(status),
        valued_through=pl.lit(None, dtype=pl.Date),
        traceback=pl.lit(trace, dtype=pl.String),
    )
    return Valued(pl.DataFrame(), outcome)


def _require_failure(error: BaseException) -> None:
    """Raises again what is no failure but an end: a cancellation, an exit. A panic of polars or pgpq is a failure, though
    it is no Exception; each library has a class of its own for it."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def _after_failure(
    attempts: int, error: BaseException, max_attempts: int
) -> tuple[str, str | None]:
    """A job's status and, when this was its last attempt, what its dead letter says."""
    if attempts < max_attempts:
        return JobStatus.PENDING.value, None
    return JobStatus.FAILED.value, "".join(traceback.format_exception(error))[
        -_TRACEBACK_CHARACTERS:
    ]


def _joined(parts: list[Valued]) -> Valued:
    """The parts of a task as one, in order."""
    rows = [part.rows for part in parts if len(part.rows)]
    return Valued(
        pl.concat(rows) if rows else pl.DataFrame(schema=dict.fromkeys(SNAPSHOT_COLUMNS, pl.Null)),
        pl.concat([part.outcomes for part in parts]),
    )


def _named(outcomes: pl.DataFrame, inputs: TaskInputs) -> pl.DataFrame:
    """Adds failure_reason as docs/valuation.md words it: reason, security or currency pair, date."""
    if outcomes["reason"].null_count() == len(outcomes):
        return outcomes.with_columns(failure_reason=pl.lit(None, dtype=pl.String))
    names = inputs.currencies.with_columns(pl.col("currency_no").cast(pl.Int64))
    base_no, quote_no = decode_pair("problem_pair")
    named = (
        outcomes.with_columns(first=base_no, second=quote_no)
        .join(inputs.securities, on="instrument_no", how="left", maintain_order="left")
        .join(
            names.rename({"currency_no": "first", "currency": "from"}),
            on="first",
            how="left",
            maintain_order="left",
        )
        .join(
            names.rename({"currency_no": "second", "currency": "to"}),
            on="second",
            how="left",
            maintain_order="left",
        )
    )
    of_pair = pl.col("reason") == FailureReason.FX_MISSING.value
    subject = pl.when(of_pair).then(pl.format("{}/{}", "from", "to")).otherwise("security_id")
    return named.with_columns(
        failure_reason=pl.format("{} {} {}", "reason", subject, "problem_date")
    )


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().iter_rows())


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, phase: str) -> None:
        now = perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now
