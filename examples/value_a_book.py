"""Load a small book from polars frames, value it and read the result.

Run: python examples/value_a_book.py

It uses an embedded PostgreSQL in a temporary folder, so that it touches no other database, and a
local Ray.
"""

import os
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl

import revalue
from revalue.engine.postgres import embedded

DAYS = [date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 6)]
NEXT_DAY = date(2024, 3, 7)

# Amounts are text or Decimal, never float. Each frame refers only to those before it.
BOOK = {
    # The business days. They may be loaded for years ahead: a day is valued once it is opened.
    "business_dates": pl.DataFrame({"calendar_id": "XNYS", "business_date": [*DAYS, NEXT_DAY]}),
    "portfolios": pl.DataFrame(
        {"portfolio_id": ["GROWTH"], "base_currency": ["EUR"], "calendar_id": ["XNYS"]}
    ),
    "instruments": pl.DataFrame(
        {
            "security_id": ["ACME", "BOND"],
            "currency": ["USD", "EUR"],
            "max_price_age_sessions": [3, 5],
        }
    ),
    # 1 EUR = rate USD.
    "fx_rates": pl.DataFrame(
        {
            "base_currency": "EUR",
            "quote_currency": "USD",
            "rate_date": DAYS,
            "rate": ["1.0846", "1.0849", "1.0874"],
        }
    ),
    # The bond has one price, in percent of par. It is carried forward to the later days.
    "prices": pl.DataFrame(
        {
            "security_id": ["ACME", "ACME", "ACME", "BOND"],
            "price_date": [*DAYS, DAYS[0]],
            "price": ["50.00", "51.25", "52.10", "98.75"],
            "currency": ["USD", "USD", "USD", "EUR"],
            "quote_basis": ["PER_UNIT", "PER_UNIT", "PER_UNIT", "PERCENT_OF_PAR"],
        }
    ),
    # Holdings, not trades: each record holds until the next one of the same position.
    "positions": pl.DataFrame(
        {
            "portfolio_id": ["GROWTH", "GROWTH"],
            "security_id": ["ACME", "BOND"],
            "position_date": [DAYS[0], DAYS[0]],
            "quantity": ["120", "10000"],
            "cost_basis_local": ["5400.00", "9900.00"],
            "cost_basis": ["4980.00", "9900.00"],
        }
    ),
}


def main(book: revalue.Book) -> None:
    for kind, frame in BOOK.items():
        loaded = book.load(kind, frame)
        print(f"{kind}: {loaded.rows} rows, {loaded.inserted} new")

    for opening in book.open(DAYS[-1]):
        print(f"{opening.calendar_id}: {opening.business_days} business days opened")

    run = book.value()
    print(f"{run.rows_written} position-days valued")
    assert run.rows_written == 6
    assert run.status.is_current

    rows = book.valuations(portfolio="GROWTH").select(
        "security_id", "date", "market_value", "unrealized_gain"
    )
    for security, day, value, gain in rows.rows():
        print(
            f"{day} {security:4}  market value {value:10.2f} EUR  unrealized gain {gain:8.2f} EUR"
        )

    # 120 shares x 51.25 USD x (1 / 1.0849). A rate has 18 decimal places, an amount 10; half-even.
    rate = (1 / Decimal("1.0849")).quantize(Decimal("1e-18"))
    acme = rows.filter(security_id="ACME", date=DAYS[1])["market_value"][0]
    assert acme == (120 * Decimal("51.25") * rate).quantize(Decimal("1e-10"))
    # 10,000 face amount x 98.75 percent.
    bond = rows.filter(security_id="BOND", date=DAYS[2])["market_value"][0]
    assert bond == Decimal("9875")


if __name__ == "__main__":
    os.environ.pop("REVALUE_DATABASE_URL", None)  # use the embedded server, whatever is set
    with tempfile.TemporaryDirectory(prefix="revalue-") as folder:
        try:
            with revalue.connect(migrate=True, data_dir=Path(folder)) as opened:
                main(opened)
        finally:
            embedded.stop(Path(folder))
