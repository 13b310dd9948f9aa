"""Business dates as numbers, so that ages and ranges are subtractions.

A business days frame has one row a business date: calendar_no (i16), date, day_no (i32: 1 for the calendar's first date,
2 for the next...), sorted by calendar_no and date. A date is looked up in it by binary search over both columns as one number.
"""

from typing import Literal

import polars as pl

_A_CALENDAR = 1 << 32


def number_business_days(business_dates: pl.DataFrame) -> pl.DataFrame:
    """The business days frame of a frame with calendar_no and date."""
    return business_dates.sort("calendar_no", "date").with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("calendar_no").alias("day_no")
    )


def last_business_day(
    frame: pl.DataFrame, business_days: pl.DataFrame, *, on: str, name: str
) -> pl.DataFrame:
    """Adds `name`: the number of the last business day <= the date `on`; null before the calendar's first one."""
    return frame.with_columns(
        business_days["day_no"].gather(last_rows(frame, business_days, on=on)).alias(name)
    )


def last_rows(frame: pl.DataFrame, business_days: pl.DataFrame, *, on: str) -> pl.Series:
    """For each row of the frame (calendar_no, `on`), the row number in `business days` of its last business day <= the date `on`;
    null where there is none."""
    return _rows(frame, business_days, on, "right", step=-1)


def first_rows(frame: pl.DataFrame, business_days: pl.DataFrame, *, on: str) -> pl.Series:
    """The same of the first business day >= the date `on`."""
    return _rows(frame, business_days, on, "left", step=0)


def expand_to_dates(ranges: pl.DataFrame, business_days: pl.DataFrame) -> pl.DataFrame:
    """One row for every business day of each range, in the order of the ranges and then of the dates.

    `ranges` has calendar_no, first_date and last_date (both included); its other columns are repeated; `day_no` and
    `date` are added. A range without a business day gives no row.
    """
    bounded = ranges.with_columns(
        first_rows(ranges, business_days, on="first_date").alias("_first"),
        last_rows(ranges, business_days, on="last_date").alias("_last"),
    ).filter(pl.col("_first") <= pl.col("_last"))
    rows = (
        bounded.with_columns(_row=pl.int_ranges("_first", pl.col("_last") + 1))
        .drop("_first", "_last", "first_date", "last_date")
        .explode("_row")
    )
    return rows.drop("_row").with_columns(
        business_days["day_no"].gather(rows["_row"]).alias("day_no"),
        business_days["date"].gather(rows["_row"]).alias("date"),
    )


def _rows(
    frame: pl.DataFrame,
    business_days: pl.DataFrame,
    on: str,
    side: Literal["left", "right"],
    *,
    step: int,
) -> pl.Series:
    found = (
        _numbers(business_days, "date").search_sorted(_numbers(frame, on), side=side).cast(pl.Int64)
        + step
    )
    inside = found.is_between(0, len(business_days) - 1)
    found = found.zip_with(inside, pl.Series([None], dtype=pl.Int64))
    # The neighbour in the business days may be another calendar's.
    same = business_days["calendar_no"].gather(found) == frame["calendar_no"]
    return found.zip_with(
        (same & frame[on].is_not_null()).fill_null(False), pl.Series([None], dtype=pl.Int64)
    )


def _numbers(frame: pl.DataFrame, on: str) -> pl.Series:
    return frame.select(
        pl.col("calendar_no").cast(pl.Int64) * _A_CALENDAR + pl.col(on).cast(pl.Int32)
    ).to_series()
