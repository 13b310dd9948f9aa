"""The columns of an exported table."""

from datetime import date

import pyarrow as pa

from revalue.engine.read.published import PUBLISHED_COLUMNS

_AMOUNT, _RATE, _EFFECT = pa.decimal128(28, 10), pa.decimal128(38, 18), pa.decimal128(38, 10)

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "portfolio_id": (pa.string(), "the portfolio"),
    "security_id": (pa.string(), "the security that it holds"),
    "date": (pa.date32(), "the business day that is valued"),
    "base_currency": (pa.string(), "the currency in which the portfolio reports"),
    "local_currency": (pa.string(), "the currency of the security"),
    "valuation_status": (
        pa.string(),
        "VALUED_CURRENT, or VALUED_STALE: the price or a rate is older than the date",
    ),
    "quantity": (_AMOUNT, "units held"),
    "cost_basis_local": (_AMOUNT, "what they cost, in local_currency"),
    "cost_basis": (_AMOUNT, "what they cost, in base_currency"),
    "price": (_RATE, "of one unit, in local_currency; null on a closing date"),
    "price_date": (pa.date32(), "the date of the price; null on a closing date"),
    "fx_rate": (_RATE, "base_currency per local_currency; null on a closing date"),
    "fx_date": (pa.date32(), "the date of the rate; null on a closing date"),
    "market_value_local": (_AMOUNT, "quantity times price, in local_currency"),
    "market_value": (_AMOUNT, "in base_currency"),
    "unrealized_gain_local": (_AMOUNT, "market value minus cost basis, in local_currency"),
    "unrealized_gain": (_AMOUNT, "market value minus cost basis, in base_currency"),
    "price_effect": (_EFFECT, "the part of unrealized_gain that is of the price"),
    "fx_effect": (_EFFECT, "the part of unrealized_gain that is of the rate"),
    "epoch": (pa.int32(), "the version of the position's history; raised by corrections"),
}
"""The type of each column, and what it says."""

assert list(COLUMNS) == list(PUBLISHED_COLUMNS)

# A field id names a column for good, whatever it is called later: Iceberg asks for it.
SCHEMA = pa.schema(
    [
        pa.field(name, kind, metadata={"PARQUET:field_id": str(number)})
        for number, (name, (kind, _)) in enumerate(COLUMNS.items(), 1)
    ]
)
"""The columns of a data file."""

MONTH = "month"
"""What tells the data files of a month in formats that have no partition by a function of a date: a
column that is not in the files, such as 2024-03."""


def month_name(month: date) -> str:
    """Return the value of MONTH for the first day of a month."""
    return month.isoformat()[:7]


def month_of(name: str) -> date:
    """Return the first day of the month that a value of MONTH names."""
    return date.fromisoformat(f"{name}-01")
