"""Read what valuations depend on, and the rows that readers see, for the row-by-row valuation.

The connection may be a bare one of the driver: nothing here needs the engine's pool.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

from revalue.engine.core.date_ranges import DateRange, date_ranges
from revalue.engine.lake.lake import Lake
from revalue.engine.postgres.statement import statements
from revalue.engine.read.row_valuation import Book, ExpectedRow, PositionKey
from revalue.engine.read.rows_of_both_stores import published_rows_of_both

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

sql = statements(__package__)

_BATCH_ROWS = 500  # more would be looked at by the garbage collector, which takes a fifth longer


@asynccontextmanager
async def one_snapshot(connection: "Connection") -> AsyncIterator[None]:
    """Read everything inside of the block in one snapshot; an open transaction is used as it is."""
    if connection.is_in_transaction():
        yield
        return
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def read_book(
    connection: "Connection", *, positions: Sequence[PositionKey] | None = None
) -> Book:
    """Read the data of positions.

    Args:
        connection: reads in one snapshot, or in the transaction that is open on it.
        positions: whose records, and the prices of whose securities are read; None: of all. All
            else is read in any case.
    """
    async with one_snapshot(connection):
        policy = await sql("book_policy").one(connection)  # type: ignore[arg-type]
        book = Book(
            calendars={row[0]: [] for row in await _all(connection, "book_calendars")},
            portfolios={
                key: tuple(rest) for key, *rest in await _all(connection, "book_portfolios")
            },
            instruments={
                key: tuple(rest) for key, *rest in await _all(connection, "book_instruments")
            },
            prices={},
            rates={},
            records={},
            currencies={
                key: tuple(rest) for key, *rest in await _all(connection, "book_currencies")
            },
            fx_pivot=policy["fx_pivot_currency"],
            fx_max_age=policy["fx_max_age_sessions"],
        )
        async for rows in _stream(connection, "book_business_dates"):
            for calendar_id, day in rows:
                book.calendars[calendar_id].append(day)
        async for rows in _stream(connection, "book_rates"):
            for base, quote, day, rate in rows:
                book.rates.setdefault((base, quote), []).append((day, rate))
        return await read_positions(connection, book, positions)


async def read_positions(
    connection: "Connection", book: Book, positions: Sequence[PositionKey] | None
) -> Book:
    """Return the book with the records and prices of other positions; None: of all.

    Args:
        connection: in the transaction that read the book.
        book: all else.
        positions: as of read_book.
    """
    portfolios = securities = of_prices = None
    if positions is not None:
        portfolios = [portfolio for portfolio, _ in positions]
        securities = [security for _, security in positions]
        of_prices = list(set(securities))
    read = replace(book, prices={}, records={})
    async for rows in _stream(connection, "book_prices", of_prices):
        for security, day, price, currency, basis in rows:
            read.prices.setdefault(security, []).append((day, price, currency, basis))
    async for rows in _stream(connection, "book_records", portfolios, securities):
        for portfolio, security, day, quantity, cost_local, cost in rows:
            records = read.records.setdefault((portfolio, security), [])
            records.append((day, quantity, cost_local, cost))
    return read


async def read_position_keys(connection: "Connection") -> list[PositionKey]:
    """Return all positions, so that those in one security follow each other."""
    return [tuple(row) for row in await _all(connection, "book_positions")]


@dataclass(frozen=True)
class Unfinished:
    """A position of which some dates are not what readers will see.

    Attributes:
        is_reprocessing: readers see what was published before; no date is what it will be.
        frontier_date: the dates after it are due; None: all dates.
        pending: these dates are due, too.
    """

    is_reprocessing: bool
    frontier_date: date | None
    pending: tuple[DateRange, ...]

    def is_due(self, day: date) -> bool:
        """Whether the date is still to be valued."""
        if self.is_reprocessing or self.frontier_date is None or day > self.frontier_date:
            return True
        return any(
            (each.first_date is None or each.first_date <= day)
            and (each.last_date is None or day <= each.last_date)
            for each in self.pending
        )


async def read_unfinished(connection: "Connection") -> dict[PositionKey, Unfinished]:
    """Return the positions of which some dates are due or being reprocessed."""
    return {
        (portfolio, security): Unfinished(is_reprocessing, frontier, date_ranges(pending))
        for portfolio, security, is_reprocessing, frontier, pending in await _all(
            connection, "unfinished_positions"
        )
    }


async def read_unusable(connection: "Connection", limit: int) -> list[str]:
    """Return, as words, stored rows that no rule can use, and that are therefore not read."""
    rows = await _all(connection, "unusable_rows", limit=limit)
    return [f"{stored_in} {subject}: {value}" for stored_in, subject, value in rows]


async def read_date(
    connection: "Connection", portfolio: str, security: str, day: date, position: Any
) -> Book:
    """Read the data that one position and date depend on: of dated data the last ones before it.

    Args:
        connection: in the transaction that read `position`.
        portfolio: the portfolio of the position.
        security: the security of the position.
        day: the date.
        position: the row of the statement explain_position.
    """
    records = await _all(
        connection,
        "explain_records",
        position=position["position_id"],
        date=day,
    )
    prices = await _all(connection, "explain_price", security=security, date=day)
    local, base = position["local_currency"], position["base_currency"]
    used = {local, base, position["fx_pivot_currency"], *(price["currency"] for price in prices)}
    currencies = {
        code: tuple(rest)
        for code, *rest in await _all(connection, "explain_currencies", currencies=sorted(used))
    }
    used |= {entry[0] for entry in currencies.values()}
    rates = await _all(connection, "explain_rates", currencies=sorted(used), date=day)
    return Book(
        calendars={position["calendar_id"]: position["business_dates"]},
        portfolios={portfolio: (base, position["calendar_id"])},
        instruments={
            security: (
                local,
                position["contract_multiplier"],
                position["max_price_age_sessions"],
            )
        },
        prices={security: [tuple(price) for price in prices]},
        rates={(base, quote): [(of, rate)] for base, quote, of, rate in rates},
        records={(portfolio, security): [tuple(each) for each in reversed(records)]},
        currencies=currencies,
        fx_pivot=position["fx_pivot_currency"],
        fx_max_age=position["fx_max_age_sessions"],
    )


async def published_rows(
    connection: "Connection", positions: Collection[PositionKey] | None
) -> AsyncIterator[list[ExpectedRow]]:
    """Yield the rows that readers see, in batches, by portfolio, security and date.

    Args:
        connection: in a transaction.
        positions: only these positions; None: all.
    """
    reading: Any = connection  # bare, or of the pool: both have what is used here
    lake = await Lake.of(reading)
    if lake is not None:
        async for batch in published_rows_of_both(reading, lake, positions):
            yield batch
        return
    portfolios = securities = None
    if positions is not None:
        portfolios = [portfolio for portfolio, _ in positions]
        securities = [security for _, security in positions]
    async for rows in _stream(connection, "published_rows", portfolios, securities):
        yield [ExpectedRow._make(row[:-1]) for row in rows]  # without the epoch


async def _all(connection: "Connection", name: str, **values: Any) -> list[Any]:
    return await sql(name).fetch(connection, **values)  # type: ignore[arg-type]


async def _stream(
    connection: "Connection", name: str, *arguments: Any
) -> AsyncIterator[list["asyncpg.Record"]]:
    cursor = await connection.cursor(sql(name).positional, *arguments)
    while rows := await cursor.fetch(_BATCH_ROWS):
        yield rows
