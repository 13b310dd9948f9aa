"""Ranges of dates as data: both ends included, and printed as people write them."""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol


@dataclass(frozen=True)
class DateRange:
    """All dates from first_date to last_date, both included; None: no first, or no last date."""

    first_date: date | None
    last_date: date | None

    def __str__(self) -> str:
        """Return "2016-03-15", "2016-03-15 to 2016-03-18", or what is said of an open range."""
        first, last = self.first_date, self.last_date
        if first is None and last is None:
            return "all dates"
        if last is None:
            return f"{first} onwards"
        if first is None:
            return f"until {last}"
        return str(first) if first == last else f"{first} to {last}"


class UpperExcluded(Protocol):
    """One range of a PostgreSQL datemultirange, as the driver returns it: upper is excluded."""

    @property
    def lower(self) -> date | None: ...

    @property
    def upper(self) -> date | None: ...


def date_ranges(ranges: Iterable[UpperExcluded]) -> tuple[DateRange, ...]:
    """Return the ranges of a datemultirange, in their order."""
    day = timedelta(days=1)
    return tuple(
        DateRange(each.lower, None if each.upper is None else each.upper - day) for each in ranges
    )


def months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Yield the first and the last day of each month from that of one date to that of another."""
    begin = first.replace(day=1)
    while True:
        end = begin.replace(day=monthrange(begin.year, begin.month)[1])
        yield begin, end
        if end >= last:
            return
        begin = end + timedelta(days=1)
