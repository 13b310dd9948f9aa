"""Packing: how owed ranges become jobs and tasks, as many as there is room for."""

import polars as pl


def take_within(ranges: pl.DataFrame, capacity_rows: int) -> pl.DataFrame:
    """The ranges of the first positions that fit in `capacity_rows` (at least one position), whole positions only.

    `ranges`: position_id, rows, ..., sorted by position_id (see engine.core.eligibility).
    """
    return ranges.filter(_rows_before_position(ranges) < capacity_rows)


def assign_tasks(
    ranges: pl.DataFrame, task_rows: int, *, first_job_id: int, first_task_id: int
) -> pl.DataFrame:
    """Adds job_id (one a range, rising) and task_id (rising, about `task_rows` rows each, a position never split).

    The jobs of a task are a contiguous run of job ids and of positions. A position that alone has more rows is a task of its own.
    """
    return ranges.with_columns(
        job_id=pl.int_range(pl.len(), dtype=pl.Int64) + first_job_id,
        task_id=(_rows_before_position(ranges) // task_rows).rle_id().cast(pl.Int64)
        + first_task_id,
    )


def _rows_before_position(ranges: pl.DataFrame) -> pl.Series:
    """For each range, the rows of all positions before its own."""
    before_range = pl.col("rows").cast(pl.Int64).cum_sum() - pl.col("rows")
    return (
        ranges.select("position_id", before=before_range)
        .select(pl.col("before").first().over("position_id"))
        .to_series()
    )
