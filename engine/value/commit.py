"""The commit of step 4: mark jobs finished and insert their rows, in one transaction.

Jobs are fenced by their attempt's task id and by their position's epoch.
"""

from collections.abc import Callable

import polars as pl

from revalue.engine.core.tasks import Task
from revalue.engine.fault_injection import fault_point
from revalue.engine.postgres.arrow import copy_encoded, copy_frame, encode_binary_copy
from revalue.engine.postgres.database import Database, avoid_nested_loops
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

HOLE_COLUMNS = ("position_id", "epoch", "job_id", "first_date", "last_date", "reason", "subject")
OUTCOME_COLUMNS = (
    "job_id",
    "status",
    "valued_through",
    "rows_written",
    "failure_reason",
    "traceback",
)


async def commit_results(
    database: Database,
    task: Task,
    rows: pl.DataFrame,
    holes: pl.DataFrame,
    outcomes: pl.DataFrame,
    encoded: list[list[bytes]],
    lap: Callable[[str], None] = lambda _: None,
) -> tuple[int, int]:
    """Commit one task's rows, holes and outcomes in one transaction.

    Rows and holes of fenced jobs are dropped.

    Args:
        rows: columns of daily_position_snapshots, sorted by date and position_id.
        holes: columns of position_holes (HOLE_COLUMNS): the dates that have no value.
        outcomes: one row per job, with OUTCOME_COLUMNS.
        encoded: the result of `encode_snapshots`, made before, so that the transaction is short.
        lap: called with "mark" when jobs are marked, "copy" when rows are copied and "commit" when
            both are committed.

    Returns:
        The number of fenced jobs, and the number of rows written.

    Raises:
        TransientError: nothing was written.
    """
    async with database.transaction() as connection:
        await sql("create_finished_jobs").execute(connection)
        await copy_frame(connection, "finished_jobs", outcomes)
        await connection.execute("ANALYZE finished_jobs")
        await avoid_nested_loops(connection, task)
        fenced = await sql("finish_jobs").value(connection, **task.parameters)
        if fenced:
            if len(rows):
                rows = rows.filter(~pl.col("job_id").is_in(fenced))
                encoded = encode_snapshots(rows)
            holes = holes.filter(~pl.col("job_id").is_in(fenced))
            await sql("record_fenced").execute(connection, task=task.task_id, jobs=fenced)
        if outcomes["traceback"].null_count() < len(outcomes):
            await sql("insert_dead_letters").execute(connection, task=task.task_id)
        fault_point("value.marked")
        lap("mark")
        for chunks in encoded:
            await copy_encoded(connection, "daily_position_snapshots", rows.columns, chunks)
        if len(holes):
            await copy_frame(connection, "position_holes", holes.select(HOLE_COLUMNS))
        fault_point("value.copied")
        lap("copy")
    lap("commit")
    fault_point("value.committed")
    return len(fenced), len(rows)


def encode_snapshots(rows: pl.DataFrame) -> list[list[bytes]]:
    """Encode snapshot rows for COPY, those of each month by themselves.

    A COPY that opens more than a few partitions takes a third longer: the server then has more
    pages and relations at hand than it can find without a hash table.

    Args:
        rows: sorted by date.
    """
    if rows.is_empty():
        return []
    sizes = rows["date"].dt.month_start().rle().struct.field("len")
    firsts = sizes.cum_sum() - sizes
    return [
        encode_binary_copy(rows.slice(first, size))
        for first, size in zip(firsts, sizes, strict=True)
    ]
