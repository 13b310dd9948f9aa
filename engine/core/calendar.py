"""Business days as numbers, so that ages and ranges are subtractions.

A business days frame has one row per business day of each calendar: calendar_no (i16), date, day_no
(i32: 1 for the calendar's first day, 2 for the next...), sorted by calendar_no and date. A date is
looked up by binary search; calendar and date together are one number for that.
"""

from typing import Literal

import polars as pl

_CALENDAR_STEP = 1 << 32  # more than any date's number of days


def number_business_days(business_dates: pl.DataFrame) -> pl.DataFrame:
    """Return the business days frame of a frame with calendar_no and date."""
    return business_dates.sort("calendar_no", "date").with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("calendar_no").alias("day_no")
    )


def last_business_day(
    frame: pl.DataFrame, business_days: pl.DataFrame, *, on: str, name: str
) -> pl.DataFrame:
    """Add the column `name`: day_no of the last business day at or before the date in `on`.

    Null where the date is before the calendar's first business day. `frame` has calendar_no.
    """
    return frame.with_columns(
        business_days["day_no"].gather(last_rows(frame, business_days, on=on)).alias(name)
    )


def last_rows(frame: pl.DataFrame, business_days: pl.DataFrame, *, on: str) -> pl.Series:
    """Return for each row the row number in `business_days` of the last one at or before `on`.

    Null where there is none. `frame` has calendar_no and the date column `on`.
    """
    return _find_rows(frame, business_days, on, "right", step=-1)


def first_rows(frame: pl.DataFrame, business_days: pl.DataFrame, *, on: str) -> pl.Series:
    """Return for each row the row number in `business_days` of the first one at or after `on`.

    Null where there is none. `frame` has calendar_no and the date column `on`.
    """
    return _find_rows(frame, business_days, on, "left", step=0)


def expand_to_dates(ranges: pl.DataFrame, business_days: pl.DataFrame) -> pl.DataFrame:
    """Return one row per business day of each range, in the order of the ranges, then of dates.

    Args:
        ranges: calendar_no, first_date, last_date (both included) and any other columns.
        business_days: a business days frame.

    Returns:
        The other columns of `ranges`, repeated, with day_no and date. A range without a business
        day gives no row.
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


def _find_rows(
    frame: pl.DataFrame,
    business_days: pl.DataFrame,
    on: str,
    side: Literal["left", "right"],
    *,
    step: int,
) -> pl.Series:
    found = (
        _search_keys(business_days, "date")
        .search_sorted(_search_keys(frame, on), side=side)
        .cast(pl.Int64)
        + step
    )
    inside = found.is_between(0, len(business_days) - 1)
    found = found.zip_with(inside, pl.Series([None], dtype=pl.Int64))
    # The row found may belong to the neighbouring calendar.
    same = business_days["calendar_no"].gather(found) == frame["calendar_no"]
    return found.zip_with(
        (same & frame[on].is_not_null()).fill_null(False), pl.Series([None], dtype=pl.Int64)
    )


def _search_keys(frame: pl.DataFrame, on: str) -> pl.Series:
    """Return calendar and date of each row as one number."""
    return frame.select(
        pl.col("calendar_no").cast(pl.Int64) * _CALENDAR_STEP + pl.col(on).cast(pl.Int32)
    ).to_series()
