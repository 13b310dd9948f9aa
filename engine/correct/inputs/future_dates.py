"""Dates that are later than today: nearly always a typing error, and never a wrong one for sure.
They are loaded, and whoever loads them is warned.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import polars as pl

from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.sources import Source

_SHOWN = 5
_EARLIEST_ZONE = timedelta(hours=14)  # where a day begins first
_EFFECT = "changes no number before its day is opened"


class _Dated(NamedTuple):
    """What is looked at: the column, how many days ahead are usual, what names the row."""

    column: str
    usual_days: int
    names: tuple[str, ...]


_DATED = {
    Kind.FX_RATES: _Dated("rate_date", 0, ("base_currency", "quote_currency")),
    Kind.PRICES: _Dated("price_date", 0, ("security_id",)),
    # What is agreed today may be held from a later day on.
    Kind.POSITIONS: _Dated("position_date", 366, ("portfolio_id", "security_id")),
}


def today_somewhere(now: datetime | None = None) -> date:
    """Return the latest date that it is anywhere on earth."""
    return ((now or datetime.now(UTC)) + _EARLIEST_ZONE).date()


class FutureDates:
    """The rows of an input whose date is in the future, noted while the input is read."""

    def __init__(self, kind: Kind) -> None:
        self._dated = _DATED.get(kind)
        self._last = _last_usual(self._dated)
        self._rows = self._later = 0
        self._first: list[tuple[int, str]] = []

    def note(self, frame: pl.DataFrame) -> None:
        """Note the rows of the next batch.

        Args:
            frame: the typed columns; a date that cannot be stored is null.
        """
        dated = self._dated
        if dated is None:
            return
        later = (
            frame.lazy()
            .with_row_index("row")
            .filter(pl.col(dated.column) > self._last)
            .select(
                "row",
                pl.concat_str(*dated.names, pl.col(dated.column).cast(pl.String), separator=" "),
            )
            .collect()
        )
        wanted = _SHOWN - len(self._first)
        self._first += [(self._rows + row, text) for row, text in later.head(wanted).iter_rows()]
        self._later += len(later)
        self._rows += len(frame)

    def warnings(self, source: Source) -> tuple[str, ...]:
        """Say which rows have a date in the future, when all were read; none: no row has.

        Args:
            source: what was read: it names the rows.
        """
        if not self._later or self._dated is None:
            return ()
        first, unit = source.numbering()
        shown = ", ".join(f"{unit} {row + first}: {text}" for row, text in self._first)
        more = self._later - len(self._first)
        return (
            f"{source.place}: {self._dated.column} is later than {self._last} in {self._later:,} "
            f"of {self._rows:,} rows ({shown}{f' and {more:,} more' if more else ''}). Such a row "
            f"{_EFFECT}. If it is a typing error, take the load back: `revalue loads revert`",
        )


def future_date_warnings(kind: Kind, day: date) -> tuple[str, ...]:
    """Say that the date of one price, rate or position record is in the future; none: it is not."""
    dated = _DATED[kind]
    last = _last_usual(dated)
    if day <= last:
        return ()
    return (f"{dated.column} {day} is later than {last}: what has this date {_EFFECT}",)


def _last_usual(dated: _Dated | None) -> date:
    return today_somewhere() + timedelta(days=dated.usual_days if dated else 0)
