"""Packing: how due ranges become jobs and tasks, as many as there is capacity for."""

import polars as pl


def take_within(ranges: pl.DataFrame, capacity_rows: int) -> pl.DataFrame:
    """Return the ranges of the first positions that fit in `capacity_rows`.

    Takes whole positions only, and at least one.

    Args:
        ranges: position_id, rows (position-days) and any other columns, sorted by position_id.
        capacity_rows: position-days that may still be scheduled.
    """
    return ranges.filter(_rows_before_position(ranges) < capacity_rows)


def assign_tasks(
    ranges: pl.DataFrame, task_rows: int, *, first_job_id: int, first_task_id: int
) -> pl.DataFrame:
    """Add job_id (one per range, ascending) and task_id (ascending, about `task_rows` rows each).

    The jobs of a task are contiguous in job ids and in positions. A position is never split: one
    with more than `task_rows` rows is a task of its own.

    Args:
        ranges: position_id, rows (position-days) and any other columns, sorted by position_id.
    """
    return ranges.with_columns(
        job_id=pl.int_range(pl.len(), dtype=pl.Int64) + first_job_id,
        task_id=(_rows_before_position(ranges) // task_rows).rle_id().cast(pl.Int64)
        + first_task_id,
    )


def _rows_before_position(ranges: pl.DataFrame) -> pl.Series:
    """Return for each range the rows of all positions before its own."""
    before_range = pl.col("rows").cast(pl.Int64).cum_sum() - pl.col("rows")
    return (
        ranges.select("position_id", before=before_range)
        .select(pl.col("before").first().over("position_id"))
        .to_series()
    )
