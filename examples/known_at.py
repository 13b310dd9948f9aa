"""Ask what readers knew at an earlier time, before a correction and after it.

Run: python examples/known_at.py

Each number has two times: the business day that it is for, and the time at which readers could see
it. `known_at` selects by the second. It uses an embedded PostgreSQL in a temporary folder, so that
it touches no other database, and a local Ray.
"""

import os
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import revalue
from revalue.engine.postgres import embedded

DATA = Path(__file__).parent / "data"
KINDS = ("business_dates", "portfolios", "instruments", "fx_rates", "prices", "positions")
DAY, LAST_DAY = date(2024, 3, 5), date(2024, 3, 6)


def row(book: revalue.Book, known_at: datetime | None = None) -> dict[str, object]:
    """Read GROWTH / ACME on DAY, as it is now or as it was known at a time."""
    seen = book.valuations(
        portfolio="GROWTH", security="ACME", first_date=DAY, last_date=DAY, known_at=known_at
    )
    return seen.select("market_value", "reprocessing_status").row(0, named=True)


def main(book: revalue.Book) -> None:
    for kind in KINDS:
        book.load(kind, DATA / f"{kind}.csv")
    book.value(through=LAST_DAY)
    reported = row(book)
    report_time = datetime.now(UTC)  # the month's report goes out with this number

    book.correct(revalue.Price("ACME", DAY, Decimal("51.35")))
    corrected_time = datetime.now(UTC)  # recorded, but not valued yet
    book.value()
    restated = row(book)

    waiting = row(book, corrected_time)
    print(f"known when reported: {row(book, report_time)['market_value']:.2f}")
    print(f"known once corrected: {waiting['market_value']:.2f} {waiting['reprocessing_status']}")
    print(f"known now: {restated['market_value']:.2f}")

    # The old report can be reproduced to the last digit.
    assert row(book, report_time) == reported
    assert reported["reprocessing_status"] == "CURRENT"
    # Between the correction and its valuation readers saw the old number, marked as such.
    assert waiting == {**reported, "reprocessing_status": "IN_PROGRESS"}
    # 120 shares x 51.35 USD x (1 / 1.0849). A rate has 18 decimal places, an amount 10; half-even.
    rate = (1 / Decimal("1.0849")).quantize(Decimal("1e-18"))
    assert restated["market_value"] == (120 * Decimal("51.35") * rate).quantize(Decimal("1e-10"))
    assert restated["market_value"] != reported["market_value"]


if __name__ == "__main__":
    os.environ.pop("REVALUE_DATABASE_URL", None)  # use the embedded server, whatever is set
    with tempfile.TemporaryDirectory(prefix="revalue-") as folder:
        try:
            with revalue.connect(migrate=True, data_dir=Path(folder)) as opened:
                main(opened)
        finally:
            embedded.stop(Path(folder))
