"""Compares what PostgreSQL holds with the oracle, digit for digit."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from console.oracle import Book, Hole, Key, Row
from engine.store.database import Database
from engine.store.statement import Connection

_EXAMPLES = 10
_STORED = """
    SELECT date, quantity, cost_basis_local, cost_basis, price, price_date, fx_rate, fx_date, fx_path, market_value_local,
           market_value, unrealized_gain_local, unrealized_gain, price_effect, fx_effect, valuation_status
    FROM position_valuations
    WHERE portfolio_id = $1 AND security_id = $2
    ORDER BY date
"""


@dataclass
class Comparison:
    """keys and rows compared; disagreements (a row that differs, is missing, or is not owed) and the first of them.

    holes: key -> the failure reason at which the oracle stops.
    """

    keys: int = 0
    rows: int = 0
    disagreements: int = 0
    examples: list[str] = field(default_factory=list)
    holes: dict[Key, str] = field(default_factory=dict)

    def compare(self, key: Key, stored: Sequence[Iterable[Any]], expected: Sequence[Row | Hole]) -> None:
        """Adds one key: its stored rows in order of date, and the oracle's."""
        self.keys += 1
        if expected and isinstance(expected[-1], Hole):
            self.holes[key] = expected[-1].reason
            expected = expected[:-1]
        self.rows += len(stored)
        if len(stored) == len(expected) and all(tuple(was) == owed for was, owed in zip(stored, expected, strict=True)):
            return
        by_date = {cells[0]: cells for cells in map(tuple, stored)}
        owed_by_date = {row.date: tuple(row) for row in expected}
        for day in sorted(by_date.keys() | owed_by_date.keys()):
            if by_date.get(day) == owed_by_date.get(day):
                continue
            self.disagreements += 1
            if len(self.examples) < _EXAMPLES:
                self.examples.append(f"{' / '.join(key)} {day}: {_difference(by_date.get(day), owed_by_date.get(day))}")


def _difference(stored: tuple[Any, ...] | None, owed: tuple[Any, ...] | None) -> str:
    if stored is None:
        return "no row is stored, the oracle has one"
    if owed is None:
        return "a row is stored, the oracle has none"
    fields = zip(Row._fields, stored, owed, strict=True)
    return "; ".join(f"{name} stored {was}, oracle {becomes}" for name, was, becomes in fields if was != becomes)


async def verify_rows(database: Database, *, rows: int | None, seed: int) -> Comparison:
    """Compares all keys, or keys drawn at random until at least `rows` rows are compared. Reads as of one moment."""
    comparison = Comparison()
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        keys: list[Key] = [
            (row["portfolio_id"], row["security_id"])
            for row in await connection.fetch("SELECT portfolio_id, security_id FROM position_state ORDER BY 1, 2")
        ]
        book = await read_book(connection)
        if rows is not None:
            random.Random(seed).shuffle(keys)
        statement = await connection.prepare(_STORED)
        for key in keys:
            comparison.compare(key, await statement.fetch(*key), list(book.expected(key)))
            if rows is not None and comparison.rows >= rows:
                break
    return comparison


async def read_book(connection: Connection) -> Book:
    """Everything that values follow from, as it is in the database now."""

    async def grouped(query: str, width: int) -> dict[Any, list[Any]]:
        found: dict[Any, list[Any]] = defaultdict(list)
        for row in await connection.fetch(query):
            cells = tuple(row)
            found[cells[0] if width == 1 else cells[:width]].append(cells[width:])
        return dict(found)

    policy = await connection.fetchrow("SELECT fx_pivot_currency, fx_max_age_sessions FROM valuation_policy")
    assert policy is not None
    dates = await grouped("SELECT calendar_id, business_date FROM business_dates ORDER BY 1, 2", 1)
    single = {
        name: {row[0]: tuple(row)[1:] for row in await connection.fetch(query)}
        for name, query in (
            ("portfolios", "SELECT portfolio_id, base_currency, calendar_id FROM portfolios"),
            (
                "instruments",
                "SELECT security_id, currency, contract_multiplier, max_price_age_sessions FROM instruments",
            ),
            ("currencies", "SELECT currency, major_currency, units_per_major, currency_no FROM currencies"),
        )
    }
    return Book(
        calendars=defaultdict(list, {calendar: [day for (day,) in days] for calendar, days in dates.items()}),
        portfolios=single["portfolios"],
        instruments=single["instruments"],
        prices=await grouped(
            "SELECT security_id, price_date, price, currency, quote_basis FROM market_prices ORDER BY 1, 2", 1
        ),
        rates=await grouped("SELECT base_currency, quote_currency, rate_date, rate FROM fx_rates ORDER BY 1, 2, 3", 2),
        facts=defaultdict(
            list,
            await grouped(
                """SELECT p.portfolio_id, p.security_id, h.position_date, h.quantity, h.cost_basis_local, h.cost_basis
                   FROM position_state p
                   JOIN position_history h ON h.position_id = p.position_id AND h.epoch = p.history_epoch
                   ORDER BY 1, 2, 3""",
                2,
            ),
        ),
        currencies=single["currencies"],
        fx_pivot=policy["fx_pivot_currency"],
        fx_max_age=policy["fx_max_age_sessions"],
    )
