"""The reference valuation: an independent implementation of docs/valuation.md, over whole books.

`revalue verify`, the demo and the tests compare with it what PostgreSQL shows, digit for digit. It
reads the tables itself and values row by row (engine.read.row_valuation); it uses nothing of the
vectorised core.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from revalue.engine.read.book_data import (
    held_portfolios,
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
    """The owed rows of each position, by date, up to the position's first hole, which is given in place of its row."""
    rates = Rates(book)
    for position in sorted(book.records) if positions is None else positions:
        for row in position_rows(book, rates, position):
            yield row
            if isinstance(row, Hole):
                break


# Comparing with what the readers see


def fields(row: ExpectedRow) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in list(zip(row._fields, row, strict=True))[3:]
    )


@dataclass
class Comparison:
    rows_compared: int = 0  # rows that are both expected and stored
    disagreements: int = 0  # of those, the rows with a field that differs
    missing: int = 0  # expected, not stored
    extra: int = 0  # stored, not expected
    holes: dict[PositionKey, Hole] = field(
        default_factory=dict
    )  # the first of each position; what is owed after it may be stored
    examples: list[str] = field(default_factory=list)  # the first 20 of all kinds

    @property
    def agrees(self) -> bool:
        return not (self.disagreements or self.missing or self.extra)

    def note(self, text: str) -> None:
        if len(self.examples) < 20:
            self.examples.append(text)

    def take_expected(self, rows: Iterator[ExpectedRow | Hole]) -> ExpectedRow | None:
        for row in rows:
            if isinstance(row, ExpectedRow):
                return row
            self.holes.setdefault(row.position, row)
        return None

    def take_missing(self, row: ExpectedRow) -> None:
        if row[:2] in self.holes:
            return
        self.missing += 1
        self.note(
            f"{row.portfolio_id} {row.security_id} {row.date}: missing, expected {fields(row)}"
        )


async def compare(
    connection: "Connection", book: Book, *, positions: Iterable[PositionKey] | None = None
) -> Comparison:
    """Compare every field of every row that position_valuations shows with the rows of the rules.

    With `positions`, only these positions are looked at; without, all of the book's and all that are stored.
    """
    found = Comparison()
    rates = Rates(book)
    by_portfolio: dict[str, list[str]] = {
        portfolio: [security for _, security in group]
        for portfolio, group in groupby(
            sorted(set(book.records if positions is None else positions)), key=itemgetter(0)
        )
    }
    async with one_snapshot(connection):
        if positions is None:
            for portfolio in await held_portfolios(connection):
                by_portfolio.setdefault(portfolio, [])
        for portfolio in sorted(by_portfolio):
            securities = by_portfolio[portfolio]
            expected = (
                row
                for security in securities
                for row in position_rows(book, rates, (portfolio, security))
            )
            stored = published_rows(
                connection, portfolio, None if positions is None else securities
            )
            await _compare_portfolio(found, expected, stored)
    return found


async def _compare_portfolio(
    found: Comparison,
    expected: Iterator[ExpectedRow | Hole],
    stored: AsyncIterator[list[ExpectedRow]],
) -> None:
    """Merge two streams that are both in the order of (security_id, date)."""
    want = found.take_expected(expected)
    async for rows in stored:
        for have in rows:
            if want is not None and have == want:  # the usual case
                found.rows_compared += 1
                want = found.take_expected(expected)
                continue
            while want is not None and want[1:3] < have[1:3]:
                found.take_missing(want)
                want = found.take_expected(expected)
            if want is None or want[1:3] > have[1:3]:
                found.extra += 1
                found.note(
                    f"{have.portfolio_id} {have.security_id} {have.date}: not owed, stored {fields(have)}"
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
        found.take_missing(want)
        want = found.take_expected(expected)
