"""Which dates are owed: pending and not yet scheduled ones, cut to the dates on which the position exists."""

import polars as pl

from engine.core.calendar import first_session, last_session

_BEGINNING = pl.lit("0001-01-01").str.to_date()
_ONE_DAY = pl.duration(days=1)


def owed_ranges(keys: pl.DataFrame, pending: pl.DataFrame, open_spans: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """The contiguous ranges of dates to be valued.

    keys        position_id (i64), calendar_no (i16), staged (bool: pending has jobs already), frontier_date (or null)
    pending     position_id, first_date, last_date: the dates owed up to the frontier, both ends included
    open_spans  position_id, first_date, last_date: when the position exists, both included, last null = still open
    sessions    see engine.core.calendar

    Owed are the pending dates of keys that are not staged, and for every key the dates after its frontier up to its
    horizon (the last session of its calendar). Returns position_id, first_date, last_date (both sessions, included)
    and rows (the number of sessions from one to the other), sorted by position_id and first_date. What is not open or
    holds no session is in none of them.
    """
    horizons = sessions.group_by("calendar_no").agg(horizon=pl.col("date").max())
    keys = keys.join(horizons, on="calendar_no")
    unscheduled = keys.select(
        "position_id",
        first_date=(pl.col("frontier_date") + _ONE_DAY).fill_null(_BEGINNING),
        last_date="horizon",
    )
    unstaged = pending.join(keys.filter(~pl.col("staged")), on="position_id", how="semi")
    owed = _joined_up(pl.concat([unscheduled, unstaged.select(unscheduled.columns)]))
    cut = (
        owed.join(open_spans, on="position_id", suffix="_open")
        .select(
            "position_id",
            first_date=pl.max_horizontal("first_date", "first_date_open"),
            last_date=pl.min_horizontal("last_date", "last_date_open"),
        )
        .filter(pl.col("first_date") <= pl.col("last_date"))
        .join(keys.select("position_id", "calendar_no"), on="position_id")
    )
    numbered = first_session(cut, sessions, on="first_date", name="first")
    numbered = last_session(numbered, sessions, on="last_date", name="last").filter(pl.col("first") <= pl.col("last"))
    dates = sessions.select("calendar_no", "session", "date")
    return (
        numbered.select("position_id", "calendar_no", "first", "last")
        .join(dates.rename({"session": "first", "date": "first_date"}), on=["calendar_no", "first"])
        .join(dates.rename({"session": "last", "date": "last_date"}), on=["calendar_no", "last"])
        .select("position_id", "first_date", "last_date", rows=pl.col("last") - pl.col("first") + 1)
        .sort("position_id", "first_date")
    )


def _joined_up(ranges: pl.DataFrame) -> pl.DataFrame:
    """Ranges of one key that touch or overlap, as one range."""
    ranges = ranges.filter(pl.col("first_date") <= pl.col("last_date")).sort("position_id", "first_date")
    reached = pl.col("last_date").cum_max().shift(1).over("position_id")
    begins = (pl.col("first_date") > reached + _ONE_DAY).fill_null(True)
    return (
        ranges.with_columns(run=begins.cum_sum())
        .group_by("run", maintain_order=True)
        .agg(pl.col("position_id").first(), pl.col("first_date").first(), pl.col("last_date").max())
        .drop("run")
    )
