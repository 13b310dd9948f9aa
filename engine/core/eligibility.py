"""Which dates are owed: pending and not yet scheduled ones, cut to the dates on which the position exists."""

import polars as pl

from engine.core.calendar import first_rows, last_rows

_BEGINNING = pl.lit("0001-01-01").str.to_date()
_ONE_DAY = pl.duration(days=1)


def owed_ranges(keys: pl.DataFrame, pending: pl.DataFrame, open_spans: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """The contiguous ranges of dates to be valued.

    keys        position_id (i64), calendar_no (i16), staged (bool: pending has jobs already), frontier_date (or null)
    pending     position_id, first_date, last_date: the dates owed up to the frontier, both ends included
    open_spans  position_id, first_date, last_date: when the position exists, both included, last null = still open
    sessions    see engine.core.calendar

    The spans of a key never overlap: each is one range of a PostgreSQL multirange.

    Owed are the pending dates of keys that are not staged, and for every key the dates after its frontier up to its
    horizon (the last session of its calendar). Returns position_id, first_date, last_date (both sessions, included)
    and rows (the number of sessions from one to the other), sorted by position_id and first_date. What is not open or
    holds no session is in none of them.
    """
    horizons = sessions.group_by("calendar_no").agg(horizon=pl.col("date").max())
    keys = keys.join(horizons, on="calendar_no")
    unscheduled = keys.select(
        "position_id",
        "calendar_no",
        first_date=(pl.col("frontier_date") + _ONE_DAY).fill_null(_BEGINNING),
        last_date="horizon",
    ).filter(pl.col("first_date") <= pl.col("last_date"))
    unstaged = pending.join(keys.filter(~pl.col("staged")).select("position_id", "calendar_no"), on="position_id")
    owed = _joined_up(pl.concat([unscheduled, unstaged.select(unscheduled.columns)]).sort("position_id", "first_date"))
    cut = (
        owed.join(open_spans, on="position_id", suffix="_open", maintain_order="left")
        .select(
            "position_id",
            "calendar_no",
            first_date=pl.max_horizontal("first_date", "first_date_open"),
            last_date=pl.min_horizontal("last_date", "last_date_open"),
        )
        .filter(pl.col("first_date") <= pl.col("last_date"))
    )
    return cut_to_sessions(cut, sessions).sort("position_id", "first_date")


def cut_to_sessions(ranges: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Ranges from session to session: position_id, first_date, last_date (both sessions, included), rows (sessions between
    them, these included). `ranges`: position_id, calendar_no, first_date, last_date; those without a session are left out."""
    first, last = first_rows(ranges, sessions, on="first_date"), last_rows(ranges, sessions, on="last_date")
    dates = sessions["date"]
    return ranges.select(
        "position_id",
        dates.gather(first).alias("first_date"),
        dates.gather(last).alias("last_date"),
        (last - first + 1).cast(pl.Int32).alias("rows"),
    ).filter(pl.col("rows") > 0)


def _joined_up(ranges: pl.DataFrame) -> pl.DataFrame:
    """Ranges of one key that touch, as one range. They are sorted and do not overlap."""
    touches = (pl.col("position_id") == pl.col("position_id").shift(1)) & (
        pl.col("first_date") == pl.col("last_date").shift(1) + _ONE_DAY
    )
    begins = ranges.select((~touches).fill_null(True).alias("begins")).to_series()
    if begins.all():
        return ranges
    ends = begins.shift(-1).fill_null(True)
    return ranges.filter(begins).with_columns(ranges.filter(ends)["last_date"])
