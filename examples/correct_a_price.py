"""Preview a price correction, make it, value again and explain the new number.

Run: python examples/correct_a_price.py

It uses an embedded PostgreSQL in a temporary folder, so that it touches no other database, and a
local Ray.
"""

import os
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import revalue
from revalue.engine.postgres import embedded

DATA = Path(__file__).parent / "data"
KINDS = ("business_dates", "portfolios", "instruments", "fx_rates", "prices", "positions")
DAY, LAST_DAY = date(2024, 3, 5), date(2024, 3, 6)


def market_value(book: revalue.Book, portfolio: str, day: date) -> Decimal:
    """Read the market value of ACME that readers see, in the portfolio's base currency."""
    seen = book.valuations(portfolio=portfolio, security="ACME", first_date=day, last_date=day)
    value: Decimal = seen["market_value"][0]
    return value


def main(book: revalue.Book) -> None:
    for kind in KINDS:
        book.load(kind, DATA / f"{kind}.csv")
    book.value(through=LAST_DAY)
    before = market_value(book, "GROWTH", DAY)

    # The vendor corrects the price of one day. What would that change? Nothing is written yet.
    correction = revalue.Price("ACME", DAY, Decimal("51.35"))
    preview = book.preview(correction)
    print(f"would restate {preview.position_days} position-days:")
    for line in preview.portfolios:
        print(f"  {line.portfolio_id}: {line.change:+.2f} {line.base_currency} on {line.date}")
    assert preview.position_days == 2  # the two positions in ACME, on this day only
    assert market_value(book, "GROWTH", DAY) == before

    # Correct it. Until the new number is computed, readers see the old one, marked IN_PROGRESS.
    book.correct(correction)
    seen = book.valuations(portfolio="GROWTH", security="ACME", first_date=DAY, last_date=DAY)
    assert seen["reprocessing_status"][0] == "IN_PROGRESS"
    assert seen["market_value"][0] == before

    run = book.value()
    assert run.rows_written == 2
    assert run.status.is_current
    after = market_value(book, "GROWTH", DAY)
    print(f"GROWTH / ACME on {DAY}: {before:.2f} -> {after:.2f} EUR")
    changes = {line.portfolio_id: line.change for line in preview.portfolios}
    assert after - before == changes["GROWTH"]

    # How did the new number come about? Every input and every step, recomputed.
    explanation = book.explain("GROWTH", "ACME", DAY)
    for step in explanation.steps:
        print(f"  {step}")
    assert explanation.verdict == "AGREES"


if __name__ == "__main__":
    os.environ.pop("REVALUE_DATABASE_URL", None)  # use the embedded server, whatever is set
    with tempfile.TemporaryDirectory(prefix="revalue-") as folder:
        try:
            with revalue.connect(migrate=True, data_dir=Path(folder)) as opened:
                main(opened)
        finally:
            embedded.stop(Path(folder))
