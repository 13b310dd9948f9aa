"""Pack due ranges into jobs, as many as there is capacity for."""

import polars as pl


def take_within(ranges: pl.DataFrame, capacity_rows: int) -> pl.DataFrame:
    """Return the ranges of the first positions that fit in `capacity_rows`.

    Takes whole positions only, and at least one.

    Args:
        ranges: position_id, rows (position-days) and any other columns, sorted by position_id.
        capacity_rows: position-days that may still be scheduled.
    """
    return ranges.filter(_rows_before_position(ranges) < capacity_rows)


def assign_jobs(ranges: pl.DataFrame, job_rows: int) -> pl.DataFrame:
    """Add job_no: which job a range belongs to, from 0 upwards, about `job_rows` rows each.

    The ranges of a job are contiguous in positions. A position is never split: one with more than
    `job_rows` rows is a job of its own.

    Args:
        ranges: position_id, rows (position-days) and any other columns, sorted by position_id.
    """
    return ranges.with_columns(
        job_no=(_rows_before_position(ranges) // job_rows).rle_id().cast(pl.Int64)
    )


def _rows_before_position(ranges: pl.DataFrame) -> pl.Series:
    """Return for each range the rows of all positions before its own."""
    before_range = pl.col("rows").cast(pl.Int64).cum_sum() - pl.col("rows")
    return (
        ranges.select("position_id", before=before_range)
        .select(pl.col("before").first().over("position_id"))
        .to_series()
    )
