"""Read what valuations depend on, and the rows that readers see, for the row-by-row valuation.

The connection may be a bare one of the driver: nothing here needs the engine's pool.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

from revalue.engine.postgres.statement import statements
from revalue.engine.read.row_valuation import Book, ExpectedRow

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

sql = statements(__package__)

_BATCH_ROWS = 5_000


@asynccontextmanager
async def one_snapshot(connection: "Connection") -> AsyncIterator[None]:
    """Read everything inside of the block in one snapshot; an open transaction is used as it is."""
    if connection.is_in_transaction():
        yield
        return
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def read_book(connection: "Connection") -> Book:
    """Read the data of all positions."""
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
        async for rows in _stream(connection, "book_prices"):
            for security, day, price, currency, basis in rows:
                book.prices.setdefault(security, []).append((day, price, currency, basis))
        async for rows in _stream(connection, "book_rates"):
            for base, quote, day, rate in rows:
                book.rates.setdefault((base, quote), []).append((day, rate))
        async for rows in _stream(connection, "book_records"):
            for portfolio, security, day, quantity, cost_local, cost in rows:
                records = book.records.setdefault((portfolio, security), [])
                records.append((day, quantity, cost_local, cost))
    return book


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
        epoch=position["history_epoch"],
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


async def held_portfolios(connection: "Connection") -> list[str]:
    """Return the ids of the portfolios that have positions."""
    return [row[0] for row in await _all(connection, "held_portfolios")]


async def published_rows(
    connection: "Connection", portfolio: str, securities: Sequence[str] | None
) -> AsyncIterator[list[ExpectedRow]]:
    """Yield the rows that readers see of a portfolio, in batches, by security and date.

    Args:
        connection: in a transaction.
        portfolio: the portfolio.
        securities: only these securities; None: all.
    """
    async for rows in _stream(connection, "published_rows", portfolio, securities):
        yield [ExpectedRow._make(row) for row in rows]


async def _all(connection: "Connection", name: str, **values: Any) -> list[Any]:
    return await sql(name).fetch(connection, **values)  # type: ignore[arg-type]


async def _stream(
    connection: "Connection", name: str, *arguments: Any
) -> AsyncIterator[list["asyncpg.Record"]]:
    cursor = await connection.cursor(sql(name).positional, *arguments)
    while rows := await cursor.fetch(_BATCH_ROWS):
        yield rows
