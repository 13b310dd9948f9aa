"""The last stored price or rate before one that has no number of the business day before.

A new position has none, and neither has one whose price or rate was missing or too old: without
these, no move of it would be seen, however far.
"""

from dataclasses import dataclass

import polars as pl

from revalue.engine.core.decimals import RATE
from revalue.engine.postgres.statement import Connection
from revalue.engine.read.both_stores import read_parameters

_PRICES: dict[str, pl.DataType | type[pl.DataType]] = {
    "security_id": pl.String,
    "price_date": pl.Date,
    "last_price": RATE,
}
_RATES: dict[str, pl.DataType | type[pl.DataType]] = {
    "local_currency": pl.String,
    "base_currency": pl.String,
    "fx_date": pl.Date,
    "last_rate": RATE,
}
_POSITION = ["portfolio_id", "security_id"]


@dataclass(frozen=True)
class LastBefore:
    """What was stored last before a price or a rate, however old it is.

    Attributes:
        prices: security_id, price_date and last_price: the price before that date, per unit and in
            the currency of the security; null: it cannot be compared. No row: there is none.
        rates: local_currency, base_currency, fx_date and last_rate: the rate before that date. No
            row: there is none.
    """

    prices: pl.DataFrame
    rates: pl.DataFrame


NOTHING_BEFORE = LastBefore(pl.DataFrame(schema=_PRICES), pl.DataFrame(schema=_RATES))
"""Nothing was stored before."""


async def last_before(
    connection: Connection, rows: pl.DataFrame, before: pl.DataFrame
) -> LastBefore:
    """Return what was stored last before the prices and rates that nothing shown compares with.

    Args:
        connection: in a transaction that reads one snapshot.
        rows: of report.positions: a date.
        before: the same of the business date before.
    """
    # While a correction is in progress, positions may show different prices of one date.
    prices = _without(rows, before, "price").sort("price")
    prices = prices.unique(["security_id", "price_date"], keep="first", maintain_order=True)
    rates = _without(rows, before, "fx_rate").filter(pl.col("fx_date").is_not_null())
    rates = rates.unique(["local_currency", "base_currency", "fx_date"])
    found = NOTHING_BEFORE
    if len(prices):
        read = await read_parameters(
            connection,
            "last_prices_before",
            securities=prices["security_id"].to_list(),
            dates=prices["price_date"].to_list(),
            prices=prices["price"].to_list(),
        )
        found = LastBefore(read.cast({"last_price": RATE}), found.rates)
    if len(rates):
        read = await read_parameters(
            connection,
            "last_rates_before",
            locals=rates["local_currency"].to_list(),
            bases=rates["base_currency"].to_list(),
            dates=rates["fx_date"].to_list(),
        )
        found = LastBefore(found.prices, read.cast({"last_rate": RATE}))
    return found


def _without(rows: pl.DataFrame, before: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the rows that have a number which their position did not have the date before."""
    had = before.filter(pl.col(column).is_not_null())
    return rows.filter(pl.col(column).is_not_null()).join(had, on=_POSITION, how="anti")
