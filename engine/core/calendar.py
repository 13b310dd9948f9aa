"""Business dates as numbers, so that ages and ranges are subtractions.

A sessions frame has one row a business date: calendar_no (i16), date, session (i32: 1 for the calendar's first date,
2 for the next...), sorted by calendar_no and date.
"""

from typing import Literal

import polars as pl


def numbered(business_dates: pl.DataFrame) -> pl.DataFrame:
    """The sessions frame of a frame with calendar_no and date."""
    return business_dates.sort("calendar_no", "date").with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("calendar_no").alias("session")
    )


def last_session(frame: pl.DataFrame, sessions: pl.DataFrame, *, on: str, name: str) -> pl.DataFrame:
    """Adds `name`: the number of the last session <= the date `on`; null before the calendar's first one."""
    return _nearest(frame, sessions, on, name, "backward")


def first_session(frame: pl.DataFrame, sessions: pl.DataFrame, *, on: str, name: str) -> pl.DataFrame:
    """Adds `name`: the number of the first session >= the date `on`; null after the calendar's last one."""
    return _nearest(frame, sessions, on, name, "forward")


def expanded(ranges: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """One row for every session of each range, in the order of the ranges and then of the dates.

    `ranges` has calendar_no, first_date and last_date (both included); its other columns are repeated; `date` and
    `session` are added. A range without a session gives no row.
    """
    bounded = last_session(
        first_session(ranges, sessions, on="first_date", name="_first"), sessions, on="last_date", name="_last"
    ).filter(pl.col("_first") <= pl.col("_last"))
    return (
        bounded.with_columns(session=pl.int_ranges("_first", pl.col("_last") + 1, dtype=pl.Int32))
        .drop("_first", "_last", "first_date", "last_date")
        .explode("session")
        .join(sessions, on=["calendar_no", "session"], how="left", maintain_order="left")
    )


def _nearest(
    frame: pl.DataFrame, sessions: pl.DataFrame, on: str, name: str, strategy: Literal["backward", "forward"]
) -> pl.DataFrame:
    # Looked up once a distinct date, not once a row, and put back in the frame's own order.
    dates = frame.select("calendar_no", on).unique().sort(on)
    numbers = sessions.select("calendar_no", "date", pl.col("session").alias(name)).sort("date")
    found = dates.join_asof(
        numbers, left_on=on, right_on="date", by="calendar_no", strategy=strategy, check_sortedness=False
    ).select("calendar_no", on, name)
    return frame.join(found, on=["calendar_no", on], how="left", maintain_order="left", nulls_equal=True)
