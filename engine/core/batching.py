"""Packing: how owed ranges become jobs and tasks, as many as there is room for."""

import polars as pl


def fitting(ranges: pl.DataFrame, room_rows: int) -> pl.DataFrame:
    """The ranges of the first keys that fit in `room_rows` (at least one key), whole keys only.

    `ranges`: position_id, rows, ..., sorted by position_id (see engine.core.eligibility).
    """
    return ranges.filter(_rows_before_key(ranges) < room_rows)


def packed(ranges: pl.DataFrame, task_rows: int, *, first_job_id: int, first_task_id: int) -> pl.DataFrame:
    """Adds job_id (one a range, rising) and task_id (rising, about `task_rows` rows each, a key never split).

    The jobs of a task are a contiguous run of job ids and of keys. A key that alone has more rows is a task of its own.
    """
    return ranges.with_columns(
        job_id=pl.int_range(pl.len(), dtype=pl.Int64) + first_job_id,
        task_id=(_rows_before_key(ranges) // task_rows).rle_id().cast(pl.Int64) + first_task_id,
    )


def _rows_before_key(ranges: pl.DataFrame) -> pl.Series:
    """For each range, the rows of all keys before its own."""
    before_range = pl.col("rows").cast(pl.Int64).cum_sum() - pl.col("rows")
    return ranges.select("position_id", before=before_range).select(pl.col("before").first().over("position_id")).to_series()
