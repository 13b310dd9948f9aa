"""The commit of step 4: finish jobs and insert their rows, in one transaction.

Spans are fenced by their attempt's task id, by how many spans their job has, and by their
position's epoch.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import polars as pl

from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.core.tasks import Task
from revalue.engine.core.valuation import SNAPSHOT_COLUMNS
from revalue.engine.fault_injection import fault_point
from revalue.engine.postgres.bulk_copy import copy_frame
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.planner import avoid_nested_loops
from revalue.engine.postgres.sequences import take_ids
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.value.stores import POSTGRESQL, PreparedRows, SnapshotStore

sql = statements(__package__)

HOLE_COLUMNS = ("position_id", "epoch", "job_id", "first_date", "last_date", "reason", "subject")
SPAN_COLUMNS = ("span_no", "job_id", "position_id", "first_date", "span_count")
OUTCOME_COLUMNS = (
    "span_no",
    "status",
    "valued_through",
    "rows_written",
    "failure_reason",
    "traceback",
)
_OWN = ("job_id", "span_count")
FINISHED_COLUMNS = ("from_job", "job_id", "position_id", "first_date", *OUTCOME_COLUMNS[1:])


@dataclass(frozen=True)
class Results:
    """What an attempt has computed.

    spans: SPAN_COLUMNS of the spans that were valued (span_count: how many the job has in all).
    rows: span_no and the columns of daily_position_snapshots, sorted by date and position_id.
    holes: span_no and HOLE_COLUMNS: the dates that have no value.
    outcomes: one row per span, with OUTCOME_COLUMNS.
    """

    spans: pl.DataFrame
    rows: pl.DataFrame
    holes: pl.DataFrame
    outcomes: pl.DataFrame


@dataclass(frozen=True)
class _Finished:
    """Results whose spans have been assigned to jobs, with their rows prepared.

    spans: one row per span: span_no and FINISHED_COLUMNS; from_job is the job that was valued, and
        job_id the one that the span is in from now on.
    """

    spans: pl.DataFrame
    holes: pl.DataFrame
    rows: PreparedRows

    @property
    def completes_jobs(self) -> bool:
        """Whether every job is complete as it is, so that none is split."""
        return bool(
            self.spans.select(
                (
                    (pl.col("status") == JobStatus.COMPLETE.value)
                    & (pl.col("job_id") == pl.col("from_job"))
                ).all()
            ).item()
        )


async def commit_results(
    database: Database,
    task: Task,
    results: Results,
    lap: Callable[[str], None] = lambda _: None,
    *,
    store: SnapshotStore = POSTGRESQL,
) -> tuple[int, int]:
    """Commit one attempt's rows, holes and outcomes in one transaction.

    Rows and holes of fenced spans are dropped. The complete spans of a job stay one job; each other
    span becomes a job of its own.

    Args:
        lap: called with "encode" when the rows are encoded, and stored if they are a file; with
            "mark" when jobs are finished, "copy" when rows are copied and "commit" when both are
            committed.
        store: where the rows go. What is left of rows of which some are fenced goes into
            PostgreSQL: nothing waits for another store while it holds locks.

    Returns:
        The number of fenced spans, and the number of rows written.

    Raises:
        TransientError: nothing was written.
    """

    async def take_new(count: int) -> list[int]:
        async with database.connection() as connection:
            return await take_ids(connection, "valuation_job_ids", count)

    # Before the transaction, so that it is short.
    finished = await _assign(results, take_new, store, task.task_id)
    fault_point("value.stored")
    lap("encode")
    async with database.transaction() as connection:
        own = pl.DataFrame(
            [tuple(row) for row in await sql("lock_jobs").fetch(connection, task=task.task_id)],
            schema=results.spans.select(_OWN).schema,
            orient="row",
        )
        await avoid_nested_loops(connection, task)
        superseded = await sql("superseded_spans").fetch(connection, **task.parameters)
        kept = _without_fenced(results, own, [tuple(row) for row in superseded])
        fenced = len(results.spans) - len(kept.spans)
        if fenced:
            abandoned = len(results.spans.join(own, on=_OWN, how="anti"))
            await sql("record_fenced").execute(
                connection,
                task=task.task_id,
                abandoned=abandoned,
                superseded=fenced - abandoned,
            )
            finished = await _assign(
                kept,
                lambda count: take_ids(connection, "valuation_job_ids", count),
                POSTGRESQL,
                task.task_id,
            )
        if len(finished.spans):
            await _finish(connection, task, finished)
        fault_point("value.marked")
        lap("mark")
        await finished.rows.write(connection)
        if len(finished.holes):
            await copy_frame(connection, "position_holes", finished.holes.select(HOLE_COLUMNS))
        fault_point("value.copied")
        lap("copy")
    lap("commit")
    fault_point("value.committed")
    return fenced, finished.rows.count


async def _finish(connection: Connection, task: Task, finished: _Finished) -> None:
    if finished.completes_jobs:
        jobs = finished.spans.group_by("job_id").agg(pl.col("rows_written").sum())
        await sql("complete_jobs").execute(
            connection,
            jobs=jobs["job_id"].to_list(),
            rows_written=jobs["rows_written"].to_list(),
        )
        return
    await sql("create_finished_spans").execute(connection)
    await copy_frame(connection, "finished_spans", finished.spans.select(FINISHED_COLUMNS))
    await connection.execute("ANALYZE finished_spans")
    await sql("split_jobs").execute(connection, task=task.task_id)


def _without_fenced(
    results: Results, own: pl.DataFrame, superseded: Sequence[Sequence[int]]
) -> Results:
    """Return what an attempt may finish: of jobs that are its own, and not superseded.

    A job with fewer spans than when it was read was divided since: this attempt has committed
    already, and what is left of the job are the spans that it did not value.

    Args:
        own: _OWN of the jobs that belong to the attempt.
        superseded: job_id and position_id.
    """
    spans = results.spans.join(own, on=_OWN, how="semi", maintain_order="left")
    if len(spans) == len(results.spans) and not superseded:
        return results
    newer = pl.DataFrame(
        superseded,
        schema={"job_id": pl.Int64, "position_id": pl.Int64},
        orient="row",
    )
    spans = spans.join(newer, on=["job_id", "position_id"], how="anti", maintain_order="left")
    mine = pl.col("span_no").is_in(spans["span_no"].implode())
    return Results(
        spans,
        results.rows.filter(mine) if len(results.rows) else results.rows,
        results.holes.filter(mine) if len(results.holes) else results.holes,
        results.outcomes.filter(mine),
    )


async def _assign(
    results: Results,
    take_new: Callable[[int], Awaitable[list[int]]],
    store: SnapshotStore,
    task_id: int,
) -> _Finished:
    """Assign each span to the job that it is in from now on, and prepare the rows.

    The complete spans of a job are one group, each other span is one. If all spans of the job are
    finished, the first group keeps the job's id; else what is left does.
    """
    is_complete = pl.col("status") == JobStatus.COMPLETE.value
    spans = results.spans.join(
        results.outcomes, on="span_no", how="left", maintain_order="left"
    ).with_columns(
        group=pl.when(is_complete).then(-1).otherwise("span_no"),
        is_whole=pl.len().over("job_id") == pl.col("span_count"),
    )
    groups = (
        spans.select("job_id", "group", "is_whole")
        .unique()
        .sort("job_id", "group")
        .with_columns(keeps=pl.col("is_whole") & pl.col("job_id").is_first_distinct())
    )
    new = groups.filter(~pl.col("keeps"))
    ids = await take_new(len(new)) if len(new) else []
    groups = pl.concat(
        [
            groups.filter("keeps").with_columns(into="job_id"),
            new.with_columns(into=pl.Series(ids, dtype=pl.Int64)),
        ]
    ).select("job_id", "group", "into")
    spans = (
        spans.join(groups, on=["job_id", "group"], how="left", maintain_order="left")
        .rename({"job_id": "from_job"})
        .rename({"into": "job_id"})
        .select("span_no", *FINISHED_COLUMNS)
    )
    rows, holes = results.rows, results.holes
    if len(new):
        rows, holes = _moved(rows, spans), _moved(holes, spans)
    prepared = await store.prepare(rows.select(SNAPSHOT_COLUMNS) if len(rows) else rows, task_id)
    return _Finished(spans, holes, prepared)


def _moved(frame: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Return rows or holes with the job that their span is in from now on."""
    if frame.is_empty():
        return frame
    return frame.drop("job_id").join(
        spans.select("span_no", "job_id"), on="span_no", how="left", maintain_order="left"
    )
