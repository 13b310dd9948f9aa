"""Dates of a file that are later than today: nearly always a typing error, and never a wrong one
for sure. They are loaded, and told.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import polars as pl

from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.parsing import LATEST
from revalue.engine.correct.inputs.sources import Numbering, Source

_SHOWN = 5
_EARLIEST_ZONE = timedelta(hours=14)  # where a day begins first


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


class LookedAt(Source):
    """An input of which rows with a date in the future are noted while it is read."""

    def __init__(self, source: Source, kind: Kind, today: date) -> None:
        self._source = source
        self._dated = _DATED.get(kind)
        self._last = today + timedelta(days=self._dated.usual_days if self._dated else 0)
        self._rows = self._later = 0
        self._first: list[tuple[int, str]] = []
        self.place, self.columns, self.size = source.place, source.columns, source.size
        self.is_file = source.is_file

    def batches(self) -> Iterator[tuple[pl.DataFrame, int]]:
        self._rows = self._later = 0
        self._first = []
        for frame, read in self._source.batches():
            if self._dated is not None and self._dated.column in frame.columns:
                self._note(self._dated, frame)
            self._rows += len(frame)
            yield frame, read

    def numbering(self) -> Numbering:
        return self._source.numbering()

    def warning(self) -> str | None:
        """Say which rows have a date in the future, when all were read; None: no row has."""
        if not self._later or self._dated is None:
            return None
        first, unit = self.numbering()
        shown = ", ".join(f"{unit} {row + first}: {text}" for row, text in self._first)
        more = self._later - len(self._first)
        return (
            f"{self.place}: {self._dated.column} is later than {self._last} in {self._later:,} of "
            f"{self._rows:,} rows ({shown}{f' and {more:,} more' if more else ''}). Such a row "
            "changes no number before its day is opened. If it is a typing error, take the load "
            "back: `revalue loads revert`"
        )

    def _note(self, dated: _Dated, frame: pl.DataFrame) -> None:
        days, of_type = pl.col(dated.column), frame.schema[dated.column]
        if of_type == pl.String:  # YYYY-MM-DD, or it is refused
            days = days.str.to_date("%Y-%m-%d", strict=False)
        elif isinstance(of_type, pl.Datetime) and of_type.time_zone is None:
            days = days.dt.date()
        elif of_type != pl.Date:
            return
        names = [pl.col(name).cast(pl.String) for name in dated.names if name in frame.columns]
        later = (
            frame.lazy()
            .with_row_index("row")
            .filter((days > self._last) & (days <= LATEST))  # later ones are refused
            .select("row", pl.concat_str(*names, days.cast(pl.String), separator=" "))
            .collect()
        )
        self._later += len(later)
        wanted = _SHOWN - len(self._first)
        self._first += [(self._rows + row, text) for row, text in later.head(wanted).iter_rows()]
