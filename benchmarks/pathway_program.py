"""The baseline `pathway`: keep the values of a book up to date, and correct one price of one date.

This is a program of its own, run by a Python that has Pathway and not Revalue. It reads CSV files
of a folder, and prints one JSON object.

All of its state is in memory. Pathway has no decimals, so amounts are 64-bit floats. Prices and
rates are joined by their date: each date has one (as-of joins, which a book with gaps needs, took
many times as long). Each row that changes is written to a CSV file, without fsync, as one that goes
and one that comes. A correction is done when the totals of all rows, which are kept up to date as
well, have been told; whether the file has its last rows by then is not looked at. Then comes the
next one.
"""

import argparse
import json
import resource
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pathway as pw

_WAIT_SECONDS = 600
_MILLION = 1_000_000


class Price(pw.Schema):
    """A price. A correction takes the old one back, and sends the new one."""

    security_id: str = pw.column_definition(primary_key=True)
    price_date: str = pw.column_definition(primary_key=True)
    price: float


class Clock:
    """Waits until the totals include what was sent; notes wall and CPU seconds."""

    def __init__(self) -> None:
        self.totals: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._changes = 0

    def change(self, key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            self.totals = row

    def end(self, time: int) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def timed(self, send: Any) -> tuple[float, float]:
        """Send; return wall and CPU seconds until the totals have changed."""
        begun, cpu, before = time.perf_counter(), time.process_time(), self._changes
        send()
        with self._changed:
            if not self._changed.wait_for(lambda: self._changes > before, _WAIT_SECONDS):
                raise TimeoutError(f"no change of the totals in {_WAIT_SECONDS} s")
        return time.perf_counter() - begun, time.process_time() - cpu


class Prices(pw.io.python.ConnectorSubject):
    """All prices, then the corrections one after the other."""

    def __init__(self, prices: pd.DataFrame, corrections: int, clock: Clock) -> None:
        super().__init__()
        self._prices: list[dict[str, Any]] = prices.to_dict("records")
        self._count = corrections
        self._clock = clock
        self.build: tuple[float, float] = (0.0, 0.0)
        self.corrections: list[tuple[float, float]] = []

    def run(self) -> None:
        self.build = self._clock.timed(lambda: self._send(self._prices))
        for number in range(self._count):
            self.corrections.append(self._clock.timed(lambda: self._correct(number)))  # noqa: B023

    def _send(self, prices: list[dict[str, Any]]) -> None:
        for price in prices:
            self.next(**price)
        self.commit()

    def _correct(self, number: int) -> None:
        first = self._prices[0]
        self.delete(**{**first, "price": first["price"] + number})
        self.next(**{**first, "price": first["price"] + number + 1})
        self.commit()


def _valued(folder: Path, prices: Any) -> Any:
    """Return the value of each position on each date, kept up to date."""
    positions = pw.debug.table_from_pandas(pd.read_csv(folder / "positions.csv"))
    rates = pw.debug.table_from_pandas(pd.read_csv(folder / "rates.csv"))
    local = positions.join(prices, pw.left.security_id == pw.right.security_id).select(
        pw.left.position_id,
        pw.left.base_currency,
        pw.left.cost_basis,
        pw.right.price_date,
        pw.right.price,
        market_value_local=pw.left.quantity * pw.right.price,
        unrealized_gain_local=pw.left.quantity * pw.right.price - pw.left.cost_basis_local,
    )
    return local.join(
        rates,
        pw.left.base_currency == pw.right.base_currency,
        pw.left.price_date == pw.right.rate_date,
    ).select(
        pw.left.position_id,
        pw.left.price_date,
        pw.left.price,
        pw.right.rate,
        pw.left.market_value_local,
        pw.left.unrealized_gain_local,
        market_value=pw.left.market_value_local * pw.right.rate,
        unrealized_gain=pw.left.market_value_local * pw.right.rate - pw.left.cost_basis,
    )


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corrections", type=int, default=5)
    given = parser.parse_args()
    clock = Clock()
    stored = pd.read_csv(given.folder / "prices.csv")
    subject = Prices(stored, given.corrections, clock)
    prices = pw.io.python.read(subject, schema=Price, autocommit_duration_ms=None)
    valued = _valued(given.folder, prices)
    totals = valued.reduce(
        rows=pw.reducers.count(),
        # Of whole numbers: here no sum of floats was told after a correction (0.33.0).
        millionths=pw.reducers.sum(pw.cast(int, pw.this.market_value * _MILLION)),
    )
    pw.io.subscribe(totals, on_change=clock.change, on_time_end=clock.end)
    pw.io.csv.write(valued, given.folder / "values.csv")
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    seconds, cpu = zip(*subject.corrections, strict=True)
    sys.stdout.write(
        json.dumps(
            {
                "version": pw.__version__,
                "rows": clock.totals["rows"],
                "market_value": clock.totals["millionths"] / _MILLION,
                "seconds": round(statistics.median(seconds), 4),
                "cpu_seconds": round(statistics.median(cpu), 4),
                "build_seconds": round(subject.build[0], 2),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
