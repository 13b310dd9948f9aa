"""The published numbers as frames, for Python: every position-day, and sums by currency."""

from datetime import date, datetime

import polars as pl

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.valuation import AMOUNT_COLUMNS
from revalue.engine.errors import UsageError
from revalue.engine.lake.lake import Lake
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import statements
from revalue.engine.postgres.transaction_reader import read_frame
from revalue.engine.read import both_stores
from revalue.engine.read.refusals import never_held, require_existing, require_known

sql = statements(__package__)


async def valuations(
    database: Database,
    *,
    portfolio: str | None = None,
    security: str | None = None,
    first_date: date | None = None,
    last_date: date | None = None,
    known_at: datetime | None = None,
) -> pl.DataFrame:
    """Return the valued position-days that readers see: see Book.valuations.

    Raises:
        NotFoundError: there is no such portfolio or security.
        UsageError: `known_at` has no time zone.
        NotYetKnownError: `known_at` is in the future.
        NoLongerKnownError: `known_at` is before the retention floor.
    """
    if known_at is not None and known_at.tzinfo is None:
        raise UsageError(f"known_at {known_at} has no time zone: give one, for example UTC")
    given = {
        "portfolio": portfolio,
        "security": security,
        "first_date": first_date,
        "last_date": last_date,
        "known_at": known_at,
    }
    statement = sql("valuations")
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        await require_known(connection, known_at)
        await require_existing(
            connection,
            portfolios=None if portfolio is None else [portfolio],
            securities=None if security is None else [security],
        )
        rows = await read_frame(
            connection, statement.positional, *(given[name] for name in statement.parameters)
        )
        rows = rows.with_columns(
            pl.col(AMOUNT_COLUMNS).cast(AMOUNT), pl.col("price", "fx_rate").cast(RATE)
        )
        lake = await Lake.of(connection)
        if lake is not None:
            rows = await both_stores.valuations(connection, lake, rows, **given)
    return rows


async def valuations_of_position(
    database: Database,
    portfolio: str,
    security: str,
    *,
    first_date: date | None = None,
    last_date: date | None = None,
    known_at: datetime | None = None,
) -> pl.DataFrame:
    """Return the `valuations` of one position.

    Raises:
        NotFoundError: the portfolio has never held the security.
        RevalueError: as for `valuations`.
    """
    async with database.connection() as connection:
        found = await sql("position_id").value(connection, portfolio=portfolio, security=security)
        if found is None:
            raise await never_held(connection, portfolio, security)
    return await valuations(
        database,
        portfolio=portfolio,
        security=security,
        first_date=first_date,
        last_date=last_date,
        known_at=known_at,
    )


async def totals_by_currency(database: Database) -> pl.DataFrame:
    """Return what readers see now, summed over all portfolios of a base currency.

    Returns:
        base_currency (text), date, market_value and unrealized_gain (AMOUNT, in the base currency),
        ordered by base_currency and date.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        lake = await Lake.of(connection)
        if lake is not None:
            return await both_stores.totals_by_currency(connection, lake)
        rows = await read_frame(connection, sql("totals_by_currency").text)
    return rows.with_columns(pl.col("market_value", "unrealized_gain").cast(AMOUNT))
