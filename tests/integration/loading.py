"""What the tests of loads share: rows that can be loaded, and a position as a plain model."""

from datetime import date, timedelta

import polars as pl

GOOD = {
    "business_dates": {"calendar_id": ["CAL"], "business_date": ["2024-02-01"]},
    "portfolios": {"portfolio_id": ["NEW"], "base_currency": ["USD"], "calendar_id": ["CAL"]},
    "instruments": {"security_id": ["C"], "currency": ["GBP"], "max_price_age_sessions": ["3"]},
    "fx_rates": {
        "base_currency": ["EUR"],
        "quote_currency": ["GBP"],
        "rate_date": ["2024-01-01"],
        "rate": ["0.85"],
    },
    "prices": {
        "security_id": ["A"],
        "price_date": ["2024-02-01"],
        "price": ["1.5"],
        "currency": ["GBX"],
        "quote_basis": ["PER_UNIT"],
    },
    "positions": {
        "portfolio_id": ["P1"],
        "security_id": ["A"],
        "position_date": ["2024-01-03"],
        "quantity": ["-5"],
        "cost_basis_local": ["-10"],
        "cost_basis": ["-9.5"],
    },
}

TABLES = {
    "business_dates": "business_dates",
    "portfolios": "portfolios",
    "instruments": "instruments",
    "fx_rates": "fx_rates",
    "prices": "market_prices",
    "positions": "position_history",
}

HEADER = "security_id,price_date,price,currency,quote_basis"


def changed(kind: str, **cells: object) -> pl.DataFrame:
    return pl.DataFrame(
        {**GOOD[kind], **{name: [value] for name, value in cells.items()}}, strict=False
    )


def rows_of_prices(number: int, price: str) -> list[str]:
    """Lines of a file of prices that is not in the order of its keys."""
    return [
        f"{'BA'[n % 2]},{date(2025, 1, 1) + timedelta(n // 2)},{price},USD,PER_UNIT"
        for n in range(number)
    ]


def day(number: int) -> date:
    return date(2024, 1, 1) + timedelta(days=number)


Values = tuple[int, int, int]

Model = dict[int, Values]

HELD, MORE, GONE = (5, 50, 45), (8, 80, 70), (0, 0, 0)


def frame_of(security: str, model: Model) -> pl.DataFrame:
    rows = [
        ("P1", security, day(d), *(str(value) for value in values)) for d, values in model.items()
    ]
    return pl.DataFrame(rows, schema=list(GOOD["positions"]), orient="row")
