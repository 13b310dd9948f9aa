"""The second half of move 4: jobs are marked done under their attempt and epoch, and their rows come in the same commit."""

from collections.abc import Callable

import polars as pl

from revalue.engine.core.tasks import Task
from revalue.engine.fault_injection import fault_point
from revalue.engine.postgres.arrow import copy_encoded, copy_frame, encode_binary_copy
from revalue.engine.postgres.database import Database, avoid_nested_loops
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_FINISHED_JOBS = """CREATE TEMP TABLE IF NOT EXISTS finished_jobs (
    job_id bigint, status text, valued_through date, rows_written integer, failure_reason text, traceback text
) ON COMMIT DELETE ROWS"""

OUTCOME_COLUMNS = (
    "job_id",
    "status",
    "valued_through",
    "rows_written",
    "failure_reason",
    "traceback",
)


async def finish(
    database: Database,
    task: Task,
    rows: pl.DataFrame,
    outcomes: pl.DataFrame,
    encoded: list[bytes],
    lap: Callable[[str], None] = lambda _: None,
) -> tuple[int, int]:
    """One transaction; returns how many jobs were fenced (their rows are dropped) and how many rows were written.

    rows      columns of daily_position_snapshots, sorted by position_id and date
    outcomes  one row a job: job_id, status, valued_through, rows_written, failure_reason, traceback
    encoded   `rows`, by engine.store.arrow.encode_binary_copy: made before, so that the transaction is short
    lap       is told when jobs are marked ("mark"), rows are copied ("copy") and both are committed ("commit")

    Raises TransientError, with nothing written.
    """
    async with database.transaction() as connection:
        await connection.execute(_FINISHED_JOBS)
        await copy_frame(connection, "finished_jobs", outcomes)
        await connection.execute("ANALYZE finished_jobs")
        await avoid_nested_loops(connection, task)
        fenced = await sql("finish_jobs").value(connection, **task.parameters)
        if fenced:
            if len(rows):
                rows = rows.filter(~pl.col("job_id").is_in(fenced))
                encoded = encode_binary_copy(rows)
            await sql("record_fenced").execute(connection, task=task.task_id, jobs=fenced)
        if outcomes["traceback"].null_count() < len(outcomes):
            await sql("insert_dead_letters").execute(connection, task=task.task_id)
        fault_point("value.marked")
        lap("mark")
        if len(rows):
            await copy_encoded(connection, "daily_position_snapshots", rows.columns, encoded)
        fault_point("value.copied")
        lap("copy")
    lap("commit")
    fault_point("value.committed")
    return len(fenced), len(rows)
