"""The reference valuation: compare what readers see, digit for digit, with a second implementation.

That is engine.read.row_valuation: docs/valuation.md written out row by row, apart from the
vectorised core. `revalue verify`, the demo and the tests use it.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from revalue.engine.read.book_data import (
    Unfinished,
    one_snapshot,
    published_rows,
    read_book,
)
from revalue.engine.read.row_valuation import (
    Book,
    ExpectedRow,
    Hole,
    PositionKey,
    Rates,
    position_rows,
)

if TYPE_CHECKING:
    from revalue.engine.read.book_data import Connection

__all__ = [
    "Book",
    "Comparison",
    "ExpectedRow",
    "Hole",
    "PositionKey",
    "Rates",
    "compare",
    "expected_rows",
    "position_rows",
    "read_book",
]


def expected_rows(
    book: Book, positions: Iterable[PositionKey] | None = None
) -> Iterator[ExpectedRow | Hole]:
    """Yield the due rows of each position by date; a date that lacks data is a Hole.

    Args:
        book: the data.
        positions: only these positions, in this order; None: all, sorted.
    """
    rates = Rates(book)
    for position in sorted(book.records) if positions is None else positions:
        yield from position_rows(book, rates, position)


def fields(row: ExpectedRow) -> str:
    """Return the computed fields of a row as text."""
    return ", ".join(
        f"{name} {value}" for name, value in list(zip(row._fields, row, strict=True))[3:]
    )


@dataclass
class Comparison:
    """What readers see, compared with the reference valuation.

    Attributes:
        rows_compared: rows that are both expected and stored.
        disagreements: of these, rows with a field that differs.
        missing: rows that are expected and not stored.
        extra: rows that are stored and not expected, on a hole too.
        in_progress: of each position the number of rows that are expected and not compared: they
            are due, or the position is being reprocessed.
        holes: of each position the hole that its status tells: the first one that does not wait
            for data, else the first one.
        hole_days: the number of position-days that lack data.
        examples: the first 20 differences in words.
    """

    rows_compared: int = 0
    disagreements: int = 0
    missing: int = 0
    extra: int = 0
    in_progress: Counter[PositionKey] = field(default_factory=Counter)
    hole_days: int = 0
    holes: dict[PositionKey, Hole] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether every stored row is as expected, and every expected row is stored."""
        return not (self.disagreements or self.missing or self.extra)

    def add(self, other: "Comparison") -> None:
        """Add the numbers of the comparison of other positions."""
        for name in ("rows_compared", "disagreements", "missing", "extra", "hole_days"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.in_progress += other.in_progress

    def note(self, text: str) -> None:
        """Keep an example of a difference."""
        if len(self.examples) < 20:
            self.examples.append(text)

    def take_expected(self, rows: Iterator[ExpectedRow | Hole]) -> ExpectedRow | None:
        """Return the next expected row; remember the holes before it."""
        for row in rows:
            if isinstance(row, ExpectedRow):
                return row
            self.hole_days += 1
            told = self.holes.get(row.position)
            if told is None or (told.waits and not row.waits):
                self.holes[row.position] = row
        return None

    def take_missing(self, row: ExpectedRow) -> None:
        """Count an expected row that is not stored."""
        self.missing += 1
        self.note(
            f"{row.portfolio_id} {row.security_id} {row.date}: missing, expected {fields(row)}"
        )


async def compare(
    connection: "Connection",
    book: Book,
    *,
    positions: Iterable[PositionKey] | None = None,
    unfinished: Mapping[PositionKey, Unfinished] = MappingProxyType({}),
) -> Comparison:
    """Compare every field of every row that readers see with the row that the rules give.

    Args:
        connection: reads in one snapshot, or in the transaction that is open on it.
        book: the data, as `read_book` returns it.
        positions: only these positions; None: all of the book and all that are stored.
        unfinished: positions whose due dates need not be stored yet. Nothing is compared of one
            that is being reprocessed. Only with `positions`.
    """
    found = Comparison()
    rates = Rates(book)
    wanted = set(book.records if positions is None else positions)
    for position in sorted(wanted & unfinished.keys()):
        if unfinished[position].is_reprocessing:
            wanted.remove(position)
            found.in_progress[position] += sum(1 for _ in position_rows(book, rates, position))
    expected = (row for key in sorted(wanted) for row in position_rows(book, rates, key))
    async with one_snapshot(connection):
        stored = published_rows(connection, None if positions is None else wanted)
        await _compare(found, expected, stored, unfinished)
    return found


async def _compare(
    found: Comparison,
    expected: Iterator[ExpectedRow | Hole],
    stored: AsyncIterator[list[ExpectedRow]],
    unfinished: Mapping[PositionKey, Unfinished],
) -> None:
    """Merge two streams, both in the order of (portfolio_id, security_id, date)."""

    def take_missing(row: ExpectedRow) -> None:
        due = unfinished.get(row[:2])
        if due is not None and due.is_due(row.date):
            found.in_progress[row[:2]] += 1
        else:
            found.take_missing(row)

    want = found.take_expected(expected)
    async for rows in stored:
        for have in rows:
            if want is not None and have == want:  # the usual case
                found.rows_compared += 1
                want = found.take_expected(expected)
                continue
            while want is not None and want[:3] < have[:3]:
                take_missing(want)
                want = found.take_expected(expected)
            if want is None or want[:3] > have[:3]:
                found.extra += 1
                found.note(
                    f"{have.portfolio_id} {have.security_id} {have.date}: "
                    f"not due, stored {fields(have)}"
                )
                continue
            found.rows_compared += 1
            differing = [
                f"{name} expected {ours}, stored {theirs}"
                for name, ours, theirs in zip(ExpectedRow._fields, want, have, strict=True)
                if ours != theirs
            ]
            if differing:
                found.disagreements += 1
                found.note(
                    f"{have.portfolio_id} {have.security_id} {have.date}: {'; '.join(differing)}"
                )
            want = found.take_expected(expected)
    while want is not None:
        take_missing(want)
        want = found.take_expected(expected)
