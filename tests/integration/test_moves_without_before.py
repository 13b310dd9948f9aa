"""Moves of prices and rates that no number of the business day before shows: after a hole, and of
a new position. The expected numbers are worked out by hand from the input."""

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from revalue.engine.read.exceptions import Limits, exceptions
from revalue.engine.read.report import Wanted
from tests.support import DAYS, Engine, engine, facts, fetch, open_days, prices

DAY = DAYS[6]
CURRENCIES = {"H": "USD", "N": "USD", "M": "GBP", "G": "USD", "C": "USD"}


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    """H is held from the first day, and has no price that is young enough from DAYS[4] to DAYS[5].
    All others are held from DAY only; M is quoted in pence, G in euros, C first in euros."""
    await open_days(database, DAYS[:8])
    await load(
        database,
        Kind.PORTFOLIOS,
        pl.DataFrame(
            {
                "portfolio_id": ["P1", "P2"],
                "base_currency": ["USD", "CHF"],
                "calendar_id": ["CAL", "CAL"],
            }
        ),
    )
    await load(
        database,
        Kind.INSTRUMENTS,
        pl.DataFrame(
            {
                "security_id": list(CURRENCIES),
                "currency": list(CURRENCIES.values()),
                "max_price_age_sessions": 1,
            }
        ),
    )
    quoted: list[tuple[str, dict[date, str], str]] = [
        ("H", {DAYS[0]: "20", DAYS[1]: "20", DAYS[2]: "20", DAY: "2000"}, "USD"),
        ("N", {DAYS[5]: "20", DAY: "2000", DAYS[7]: "2000"}, "USD"),
        ("M", {DAYS[0]: "2000", DAY: "2500"}, "GBX"),
        ("G", {DAYS[5]: "10", DAY: "16"}, "EUR"),
        ("C", {DAYS[5]: "16"}, "EUR"),
        ("C", {DAY: "16"}, "USD"),
    ]
    for security, rows, currency in quoted:
        await load(database, Kind.PRICES, prices(security, rows, currency))
    rates = [
        ("EUR", "USD", DAYS[4], "1.0"),
        ("EUR", "USD", DAYS[5], "1.25"),
        ("EUR", "USD", DAY, "1.25"),
        ("GBP", "USD", DAYS[5], "1.5"),
        ("GBP", "USD", DAY, "1.5"),
        ("USD", "EUR", DAYS[0], "0.01"),
        ("EUR", "CHF", DAYS[3], "2.5"),
        ("EUR", "CHF", DAY, "1.0"),
    ]
    columns = ["base_currency", "quote_currency", "rate_date", "rate"]
    await load(database, Kind.FX_RATES, pl.DataFrame(rates, schema=columns, orient="row"))
    held = [
        facts("P1", "H", {DAYS[0]: "10"}),
        *(facts("P1", name, {DAY: "10"}) for name in ("N", "M", "G", "C")),
        facts("P2", "N", {DAY: "5000000000000"}),
    ]
    await load(database, Kind.POSITIONS, pl.concat(held))
    async with engine(url) as running:
        await running.settle()
        yield running


async def moves(database: Database, day: date, **wanted: Any) -> dict[tuple[str, str], Any]:
    lines = await exceptions(database, Wanted(day, **wanted), Limits(movers=1))
    assert lines.filter(pl.col("kind") == "NO_VALUE").is_empty(), lines
    listed = lines.filter(pl.col("kind").str.ends_with("_MOVE"))
    return {
        (row["subject"], row["base_currency"]): (row["detail"], row["move_percent"])
        for row in listed.to_dicts()
    }


async def test_a_price_after_a_hole_and_of_a_new_position_is_compared_with_the_last_stored_one(
    database: Database, valued: Engine
) -> None:
    value = Decimal(5000000000000) * 2000 * Decimal("0.8")  # 1 USD is 0.8 EUR, and as many CHF
    expected = {
        ("H", "USD"): ("20 -> 2000", 9900.0),
        ("N", "USD"): ("20 -> 2000", 9900.0),
        ("N", "CHF"): ("20 -> 2000", 9900.0),
        ("M", "USD"): ("20 -> 25", 25.0),
        ("G", "USD"): ("12.5 -> 20", 60.0),
        ("C", "USD"): ("16, after a price in another currency", None),
        # 1 USD was 0.8 EUR on DAYS[5], as the newest rate says, and 1 EUR was 2.5 CHF.
        ("USD/CHF", "CHF"): ("2 -> 0.8", -60.0),
        ("P1 / N", "USD"): ("0 -> 20000", None),
        ("P2 / N", "CHF"): (f"0 -> {value.to_integral():f}", None),
    }
    assert await moves(database, DAY) == expected
    assert await moves(database, DAYS[7], portfolios=("P2",)) == {}


async def test_it_is_told_as_of_an_earlier_time_too(database: Database, valued: Engine) -> None:
    [[now]] = await fetch(database, "SELECT clock_timestamp()")
    assert await moves(database, DAY, known_at=now) == await moves(database, DAY)


async def test_on_the_first_business_date_nothing_has_moved(
    database: Database, valued: Engine
) -> None:
    assert await moves(database, DAYS[0]) == {}
