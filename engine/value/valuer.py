"""Step 4, value: read the inputs of a task, compute, commit. Runs in any process."""

import traceback
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import polars as pl

from revalue.engine.core.lifecycle import FailureReason, JobStatus
from revalue.engine.core.market import decode_pair
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.core.valuation import SNAPSHOT_COLUMNS, Valued, in_storage_order, value
from revalue.engine.errors import CorrectionRefusedError, DataFaultError, RevalueError
from revalue.engine.fault_injection import fault_point
from revalue.engine.lake.lake import Lake
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import ANSWER_SECONDS, Database
from revalue.engine.postgres.statement import Statement, statements
from revalue.engine.settings import Settings
from revalue.engine.value.commit import (
    HOLE_COLUMNS,
    OUTCOME_COLUMNS,
    SPAN_COLUMNS,
    Results,
    commit_results,
)
from revalue.engine.value.inputs import TaskInputs, numbered, read_inputs
from revalue.engine.value.stores import POSTGRESQL, LakeStore, SnapshotStore

sql = statements(__package__)

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRACEBACK_CHARACTERS = 8_000
_OF_THE_DATA = (DataFaultError, CorrectionRefusedError)
_NO_HOLES = pl.DataFrame(
    schema=dict(
        zip(
            ("span_no", *HOLE_COLUMNS),
            (pl.Int64, pl.Int64, pl.Int32, pl.Int64, pl.Date, pl.Date, pl.String, pl.String),
            strict=True,
        )
    )
)
_OVERFLOW_RULE = (
    "A market value, gain or unit price does not fit NUMERIC(28,10): "
    "see docs/valuation.md, section 4."
)


@dataclass(frozen=True)
class ValuerOptions:
    """How a valuer works.

    Attributes:
        max_attempts: a span that fails unexpectedly in this attempt becomes a dead letter.
        answer_seconds: longest time that reading or writing a task may take; after it the server is
            considered lost.
        lake_task_rows: an attempt with so many rows writes them into the lake of the database.
            None: into PostgreSQL, always.
    """

    max_attempts: int
    answer_seconds: float = ANSWER_SECONDS
    lake_task_rows: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "ValuerOptions":
        """Return those of the settings."""
        return cls(
            max_attempts=settings.max_attempts,
            answer_seconds=settings.task_deadline_seconds,
            lake_task_rows=None if settings.lake is None else settings.lake_task_rows,
        )


class Valuer:
    """Values tasks, one at a time, over its own connections."""

    def __init__(
        self,
        database: Database,
        reader: ArrowReader,
        *,
        max_attempts: int,
        store: SnapshotStore = POSTGRESQL,
    ) -> None:
        self._database = database
        self._reader = reader
        self._max_attempts = max_attempts
        self._store = store

    @classmethod
    async def open(cls, url: str, options: ValuerOptions, *, name: str = "") -> "Valuer":
        """Connect to the database, and to its lake if the options ask for it.

        Args:
            name: identifies its database sessions, so that another process can end them.

        Raises:
            DatabaseUnavailableError: the database cannot be reached.
            DatabaseSetupError: its lake is not to be found on this machine.
            TransientError: its lake cannot be reached now.
        """
        database = await Database.open(
            url,
            connections=1,
            application=application_name("valuer", name),
            answer_seconds=options.answer_seconds,
        )
        store: SnapshotStore = POSTGRESQL
        if options.lake_task_rows is not None:
            try:
                async with database.connection() as connection:
                    lake = await Lake.writable(connection)
            except BaseException:
                await database.close()
                raise
            store = LakeStore(lake, least_rows=options.lake_task_rows)
        reader = ArrowReader(url, answer_seconds=options.answer_seconds)
        return cls(database, reader, max_attempts=options.max_attempts, store=store)

    async def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        await self._database.close()

    async def run(self, task: Task) -> TaskResult:
        """Value the spans of the task's jobs and commit the results.

        A position whose data makes reading, computing or writing fail is isolated by halving the
        task; the other positions are valued. No other error is a fault of a position.

        Raises:
            TransientError: nothing was written.
            DatabaseSetupError: nothing was written, and nothing can be until an operator has
                removed the cause.
        """
        try:
            return await self._attempt(task)
        except BaseException as error:  # from reading or writing: `compute` handles its own
            _reraise_unless_failure(error)
            if task.first_position_id == task.last_position_id:
                return await self._record_failure(task, error)
        middle = (task.first_position_id + task.last_position_id) // 2
        low = await self.run(replace(task, last_position_id=middle))
        high = await self.run(replace(task, first_position_id=middle + 1))
        return low.merged(high, task)

    async def _attempt(self, task: Task) -> TaskResult:
        fault_point("value.begun")
        clock, sent = _Clock(), Statement.sent
        inputs = await self._reader.run(read_inputs, task)
        fault_point("value.read")
        clock.lap("read")
        if inputs is None:
            return TaskResult(task, spans=0, rows=0, fenced=0)
        valued = compute(inputs, max_attempts=self._max_attempts)
        fault_point("value.computed")
        rows, outcomes = in_storage_order(valued.rows), valued.outcomes
        clock.lap("compute")
        fenced, written = await commit_results(
            self._database,
            task,
            Results(
                inputs.spans.select(SPAN_COLUMNS),
                rows,
                valued.holes,
                outcomes.select(OUTCOME_COLUMNS),
            ),
            clock.lap,
            store=self._store,
        )
        return TaskResult(
            task,
            spans=len(outcomes),
            rows=written,
            fenced=fenced,
            statuses=_count_by(outcomes, "status"),
            reasons=_count_by(outcomes.filter(pl.col("reason").is_not_null()), "reason"),
            seconds=clock.seconds,
            statements=Statement.sent - sent,
        )

    async def _record_failure(self, task: Task, error: BaseException) -> TaskResult:
        """Commit the failure of a task of one position that cannot be read or written."""
        async with self._database.connection() as connection:
            found = await sql("failing_spans").fetch(
                connection, task=task.task_id, position=task.first_position_id
            )
        if not found:
            return TaskResult(task, spans=0, rows=0, fenced=0)
        spans = numbered(pl.DataFrame([dict(row) for row in found]))
        status, trace = _after_failure(spans["attempt_count"][0], error, self._max_attempts)
        reason = FailureReason.UNEXPECTED_ERROR.value
        outcomes = spans.select(
            "span_no",
            status=pl.lit(status),
            valued_through=pl.lit(None, dtype=pl.Date),
            rows_written=pl.lit(0, dtype=pl.Int32),
            failure_reason=pl.format("{} {} {}", pl.lit(reason), "security_id", "first_date"),
            traceback=pl.lit(trace, dtype=pl.String),
        )
        fenced, _ = await commit_results(
            self._database,
            task,
            Results(spans.select(SPAN_COLUMNS), pl.DataFrame(), _NO_HOLES, outcomes),
        )
        count = len(spans)
        return TaskResult(
            task,
            spans=count,
            rows=0,
            fenced=fenced,
            statuses={status: count},
            reasons={reason: count},
        )


def compute(inputs: TaskInputs, *, max_attempts: int) -> Valued:
    """Value a task from its inputs alone.

    A span whose data makes the computation fail gets a failed outcome; nothing is raised.

    Returns:
        The valuation; its outcomes also have failure_reason and traceback, its holes span_no and
        HOLE_COLUMNS.
    """
    valued = _concatenate(list(_value_or_halve(inputs, max_attempts)))
    return replace(
        valued,
        holes=_with_subjects(valued.holes, inputs).select("span_no", *HOLE_COLUMNS)
        if len(valued.holes)
        else _NO_HOLES,
        outcomes=_with_failure_reasons(valued.outcomes, inputs),
    )


def _value_or_halve(inputs: TaskInputs, max_attempts: int) -> "Iterator[Valued]":
    """Value all spans; when that fails, value each half, so that only the failing span fails."""
    try:
        yield _with_tracebacks(value(inputs.spans, inputs.history, inputs.market))
    except BaseException as error:
        _reraise_unless_failure(error)
        if len(inputs.spans) == 1:
            yield _failed_span(inputs.spans, error, max_attempts)
            return
        middle = len(inputs.spans) // 2
        for half in (inputs.spans[:middle], inputs.spans[middle:]):
            yield from _value_or_halve(replace(inputs, spans=half), max_attempts)


def _with_tracebacks(valued: Valued) -> Valued:
    """Add `traceback`: of a span that fails by a rule (OVERFLOW), the rule itself."""
    rule = pl.when(pl.col("status") == JobStatus.FAILED.value).then(pl.lit(_OVERFLOW_RULE))
    return replace(valued, outcomes=valued.outcomes.with_columns(traceback=rule.cast(pl.String)))


def _failed_span(span: pl.DataFrame, error: BaseException, max_attempts: int) -> Valued:
    status, trace = _after_failure(span["attempt_count"][0], error, max_attempts)
    outcome = span.select(
        "span_no",
        rows_written=pl.lit(0, dtype=pl.Int32),
        reason=pl.lit(FailureReason.UNEXPECTED_ERROR.value),
        instrument_no="instrument_no",
        problem_date="first_date",
        problem_pair=pl.lit(None, dtype=pl.Int64),
        status=pl.lit(status),
        valued_through=pl.lit(None, dtype=pl.Date),
        traceback=pl.lit(trace, dtype=pl.String),
    )
    return Valued(pl.DataFrame(), pl.DataFrame(), outcome)


def _reraise_unless_failure(error: BaseException) -> None:
    """Return for an error that the data of a position can cause; raise any other one again.

    Of the engine's own errors these are the two that say so: the others are of the database or of
    its setup. A panic of polars or pgpq is a failure but not an Exception; each library has its own
    class.
    """
    if isinstance(error, RevalueError):
        if not isinstance(error, _OF_THE_DATA):
            raise error
    elif not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def _after_failure(
    attempts: int, error: BaseException, max_attempts: int
) -> tuple[str, str | None]:
    """Return a span's new status and, after its last attempt, the traceback for its dead letter."""
    if attempts < max_attempts:
        return JobStatus.PENDING.value, None
    trace = "".join(traceback.format_exception(error))
    return JobStatus.FAILED.value, trace[-_TRACEBACK_CHARACTERS:]


def _concatenate(parts: list[Valued]) -> Valued:
    """Return the parts of a task, in order, as one."""
    rows = [part.rows for part in parts if len(part.rows)]
    holes = [part.holes for part in parts if len(part.holes)]
    return Valued(
        pl.concat(rows)
        if rows
        else pl.DataFrame(schema=dict.fromkeys(("span_no", *SNAPSHOT_COLUMNS), pl.Null)),
        pl.concat(holes) if holes else _NO_HOLES,
        pl.concat([part.outcomes for part in parts]),
    )


def _with_failure_reasons(outcomes: pl.DataFrame, inputs: TaskInputs) -> pl.DataFrame:
    """Add failure_reason as docs/valuation.md words it: reason, security or currency pair, date."""
    if outcomes["reason"].null_count() == len(outcomes):
        return outcomes.with_columns(failure_reason=pl.lit(None, dtype=pl.String))
    return _with_subjects(outcomes, inputs).with_columns(
        failure_reason=pl.format("{} {} {}", "reason", "subject", "problem_date")
    )


def _with_subjects(problems: pl.DataFrame, inputs: TaskInputs) -> pl.DataFrame:
    """Add `subject`: what is missing, a security or a currency pair.

    Args:
        problems: reason, instrument_no and problem_pair, and any other columns.
    """
    names = inputs.currencies.with_columns(pl.col("currency_no").cast(pl.Int64))
    base_no, quote_no = decode_pair("problem_pair")
    named = (
        problems.with_columns(first=base_no, second=quote_no)
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
    return named.with_columns(subject=subject)


def _count_by(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().iter_rows())


class _Clock:
    """Seconds of each phase of one attempt."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last call as that of `phase`."""
        now = perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now
