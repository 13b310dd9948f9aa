"""Step 4, value: read the inputs of a task, compute, commit. Runs in any process."""

from dataclasses import dataclass, replace
from time import perf_counter

import polars as pl

from revalue.engine.core.lifecycle import FailureReason
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.core.valuation import in_storage_order
from revalue.engine.fault_injection import fault_point
from revalue.engine.lake.lake import Lake
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import ANSWER_SECONDS, Database
from revalue.engine.postgres.statement import Statement, statements
from revalue.engine.settings import Settings
from revalue.engine.value.commit import (
    OUTCOME_COLUMNS,
    SPAN_COLUMNS,
    Results,
    commit_results,
)
from revalue.engine.value.computation import NO_HOLES, compute
from revalue.engine.value.failures import after_failure, reraise_unless_failure
from revalue.engine.value.inputs import numbered, read_inputs
from revalue.engine.value.stores import POSTGRESQL, LakeStore, SnapshotStore

sql = statements(__package__)


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
            reraise_unless_failure(error)
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
        status, trace = after_failure(spans["attempt_count"][0], error, self._max_attempts)
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
            Results(spans.select(SPAN_COLUMNS), pl.DataFrame(), NO_HOLES, outcomes),
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
