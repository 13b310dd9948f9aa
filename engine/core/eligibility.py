"""Which dates are due: pending and not yet scheduled ones on which the position is open."""

import polars as pl

from revalue.engine.core.calendar import first_rows, last_rows

_BEGINNING = pl.lit("0001-01-01").str.to_date()
_ONE_DAY = pl.duration(days=1)


def due_ranges(
    positions: pl.DataFrame,
    pending: pl.DataFrame,
    open_spans: pl.DataFrame,
    business_days: pl.DataFrame,
) -> pl.DataFrame:
    """Return the contiguous ranges of dates that have to be valued.

    Due are the pending dates of positions that are not staged, and for each position the dates
    after its frontier up to its horizon. Dates on which the position is not open are not due.

    Args:
        positions: position_id (i64), calendar_no (i16), staged (bool: jobs exist for the pending
            dates), frontier_date (null: nothing was scheduled yet), horizon (the last business day
            of its calendar that is to be valued).
        pending: position_id, first_date, last_date (both included): the due dates up to the
            frontier.
        open_spans: position_id, first_date, last_date (both included, last_date null: still open):
            when the position exists.
        business_days: see engine.core.calendar.

    The spans of one position never overlap: each is one range of a PostgreSQL multirange.

    Returns:
        position_id, first_date, last_date (both business days, both included) and rows (i32, the
        number of business days in the range), sorted by position_id and first_date. Ranges without
        a business day are left out.
    """
    unscheduled = positions.select(
        "position_id",
        "calendar_no",
        first_date=(pl.col("frontier_date") + _ONE_DAY).fill_null(_BEGINNING),
        last_date="horizon",
    ).filter(pl.col("first_date") <= pl.col("last_date"))
    unstaged = pending.join(
        positions.filter(~pl.col("staged")).select("position_id", "calendar_no"), on="position_id"
    )
    due = unite_ranges(
        pl.concat([unscheduled, unstaged.select(unscheduled.columns)]).sort(
            "position_id", "first_date"
        )
    )
    cut = (
        due.join(open_spans, on="position_id", suffix="_open", maintain_order="left")
        .select(
            "position_id",
            "calendar_no",
            first_date=pl.max_horizontal("first_date", "first_date_open"),
            last_date=pl.min_horizontal("last_date", "last_date_open"),
        )
        .filter(pl.col("first_date") <= pl.col("last_date"))
    )
    return cut_to_business_days(cut, business_days).sort("position_id", "first_date")


def cut_to_business_days(ranges: pl.DataFrame, business_days: pl.DataFrame) -> pl.DataFrame:
    """Cut each range to its first and last business day.

    Args:
        ranges: position_id, calendar_no, first_date, last_date (both included).
        business_days: see engine.core.calendar.

    Returns:
        position_id, first_date, last_date (both business days, both included) and rows (i32, the
        number of business days in the range). Ranges without a business day are left out.
    """
    first, last = (
        first_rows(ranges, business_days, on="first_date"),
        last_rows(ranges, business_days, on="last_date"),
    )
    dates = business_days["date"]
    return ranges.select(
        "position_id",
        dates.gather(first).alias("first_date"),
        dates.gather(last).alias("last_date"),
        (last - first + 1).cast(pl.Int32).alias("rows"),
    ).filter(pl.col("rows") > 0)


def unite_ranges(ranges: pl.DataFrame) -> pl.DataFrame:
    """Unite the ranges of one position that touch or overlap.

    Args:
        ranges: position_id, first_date, last_date (both included), sorted by position_id and
            first_date; other columns are the same in all rows of a position.

    Returns:
        The same columns, in the same order. No two ranges of a position touch.
    """
    if (ranges["position_id"].diff() == 0).any():
        reached = pl.col("last_date").cum_max().shift(1).over("position_id")
        run = (reached.is_null() | (pl.col("first_date") > reached + _ONE_DAY)).cum_sum()
        ranges = (
            ranges.group_by(run.alias("run"), maintain_order=True)
            .agg(pl.exclude("last_date").first(), pl.col("last_date").max())
            .select(ranges.columns)
        )
    return ranges
