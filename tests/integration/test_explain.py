"""`explain` follows every rule of docs/valuation.md, and compares every column they give."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from revalue.engine.read.explain import explain
from tests.support import DAYS, dates, engine, execute, facts, fetch, prices

DAY, BEFORE = DAYS[7], DAYS[6]


async def load_position(
    database: Database,
    price: str,
    *,
    currency: str = "USD",
    basis: str = "PER_UNIT",
    base: str = "USD",
    multiplier: str | None = None,
    rates: dict[str, str] | None = None,
    quantity: str = "1",
    first_day: date = DAYS[0],
) -> None:
    """One position P / S in USD, with a price and rates of BEFORE and DAY.

    Business days are loaded from `first_day` to DAYS[11], and opened through DAY.
    """
    days = [BEFORE, DAY]
    await load(database, Kind.BUSINESS_DATES, dates([day for day in DAYS[:12] if day >= first_day]))
    await open_calendars(database, DAY)
    await load(
        database,
        Kind.PORTFOLIOS,
        pl.DataFrame({"portfolio_id": ["P"], "base_currency": [base], "calendar_id": ["CAL"]}),
    )
    await load(
        database,
        Kind.INSTRUMENTS,
        pl.DataFrame(
            {
                "security_id": ["S"],
                "currency": ["USD"],
                "contract_multiplier": [multiplier],
                "max_price_age_sessions": [3],
            }
        ),
    )
    for pair, rate in (rates or {}).items():
        one, other = pair.split("/")
        pairs = {"base_currency": [one] * 2, "quote_currency": [other] * 2}
        frame = pl.DataFrame({**pairs, "rate_date": days, "rate": [rate] * 2})
        await load(database, Kind.FX_RATES, frame)
    await load(database, Kind.PRICES, prices("S", dict.fromkeys(days, price), currency, basis))
    await load(database, Kind.POSITIONS, facts("P", "S", {DAY: quantity}))


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a cross that rounds to 0 is no rate": (
        {
            "price": "1",
            "base": "GBP",
            "rates": {"USD/EUR": "0.000000000000000001", "EUR/GBP": "0.1"},
        },
        f"FX_MISSING USD/GBP {DAY}",
        "FX USD/GBP: rounded to 0, which counts as none",
    ),
    "a cross of 10^18 is no rate": (
        {"price": "1", "base": "GBP", "rates": {"USD/EUR": "1000000000", "EUR/GBP": "1000000000"}},
        f"FX_MISSING USD/GBP {DAY}",
        "FX USD/GBP: more than 18 digits before the point, which do not fit",
    ),
    "a unit price that rounds to 0 is an overflow": (
        {
            "price": "0.0000000001",
            "currency": "GBX",
            "basis": "PER_CONTRACT",
            "multiplier": "0.000001",
            "rates": {"GBP/USD": "0.5"},
        },
        f"OVERFLOW S {DAY}",
        "Unit price, local: rounded to 0, which counts as none",
    ),
    "a unit price of 10^18 before its conversion is an overflow": (
        {
            "price": "10000000000000",
            "currency": "GBP",
            "basis": "PER_CONTRACT",
            "multiplier": "100000",
            "rates": {"GBP/USD": "0.000001"},
        },
        f"OVERFLOW S {DAY}",
        "Unit price: more than 18 digits before the point, which do not fit",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_it_names_the_failure_reason_of_the_job(
    case: str, url: str, database: Database
) -> None:
    given, reason, why = CASES[case]
    await load_position(database, **given)
    async with engine(url) as running:
        await running.settle()
    job = await fetch(database, "SELECT failure_reason FROM position_status")
    found = await explain(database, "P", "S", DAY)
    assert (found.verdict, found.missing, job) == ("MISSING", reason, [(reason,)])
    assert found.steps[-2:] == [why, f"No number: {reason}"]


WRONG = {
    "fx_path": "UPDATE daily_position_snapshots SET fx_path = 2",
    "price_effect": "UPDATE daily_position_snapshots SET unrealized_gain_local = 1",
    "valuation_status": "UPDATE daily_position_snapshots SET status = 1",
}


@pytest.mark.parametrize("column", WRONG)
async def test_it_finds_a_wrong_value_in_every_column_that_follows_from_the_rules(
    column: str, url: str, database: Database
) -> None:
    await load_position(database, "2", base="EUR", rates={"USD/EUR": "0.9"})
    async with engine(url) as running:
        await running.settle()
    agreed = await explain(database, "P", "S", DAY)
    assert (agreed.verdict, agreed.differences) == ("AGREES", {})
    assert agreed.computed["market_value"] == Decimal("1.8")
    await execute(database, WRONG[column])
    found = await explain(database, "P", "S", DAY)
    assert found.verdict == "DISAGREES"
    assert column in found.differences


async def test_a_price_of_its_own_conversion_makes_a_row_stale(
    url: str, database: Database
) -> None:
    """The price and the rate to base are of the date; the conversion of the price is not."""
    await load_position(database, "250", currency="GBX", rates={"GBP/USD": "1.2"}, quantity="4")
    await execute(database, "DELETE FROM fx_rates WHERE rate_date = $1", DAY)
    async with engine(url) as running:
        await running.settle()
    found = await explain(database, "P", "S", DAY)
    assert (found.verdict, found.computed["valuation_status"]) == ("AGREES", "VALUED_STALE")
    assert (found.computed["price_date"], found.computed["fx_date"]) == (DAY, None)
    assert any(step.startswith("FX GBP/USD: direct") for step in found.steps)


async def test_dates_on_which_no_row_is_due(url: str, database: Database) -> None:
    await load_position(database, "2")
    async with engine(url) as running:
        await running.settle()
    closed = await explain(database, "P", "S", BEFORE)
    assert (closed.verdict, closed.computed) == ("NOT_DUE", {})
    why = {
        DAYS[9]: f"{DAYS[9]} is not opened yet: calendar CAL is opened through {DAY}",
        DAYS[4] + timedelta(days=1): f"{DAYS[4] + timedelta(days=1)} is not a business day of "
        "calendar CAL",
        DAYS[9] + timedelta(days=1): f"{DAYS[9] + timedelta(days=1)} is not a business day of "
        "calendar CAL",
        DAYS[0] - timedelta(days=1): f"{DAYS[0] - timedelta(days=1)} is before the first business "
        f"day of calendar CAL, {DAYS[0]}",
        DAYS[12]: f"{DAYS[12]} is after the last business day of calendar CAL that is loaded, "
        f"{DAYS[11]}",
    }
    for day, reason in why.items():
        found = await explain(database, "P", "S", day)
        assert (found.verdict, found.steps) == ("NOT_DUE", [f"{reason}: no row is due"])


async def test_without_business_days_or_openings_no_row_is_due(database: Database) -> None:
    await load_position(database, "2")
    await execute(database, "INSERT INTO calendars (calendar_id) VALUES ('EMPTY'), ('AHEAD')")
    await load(database, Kind.BUSINESS_DATES, dates([DAY], "AHEAD"))
    why = {
        "EMPTY": "calendar EMPTY has no business days: no row is due",
        "AHEAD": f"{DAY} is not opened yet: nothing of calendar AHEAD is opened: no row is due",
    }
    for calendar, reason in why.items():
        portfolio = {"portfolio_id": [calendar], "base_currency": ["USD"]}
        await load(
            database,
            Kind.PORTFOLIOS,
            pl.DataFrame({**portfolio, "calendar_id": [calendar]}),
        )
        await load(database, Kind.POSITIONS, facts(calendar, "S", {DAY: "1"}))
        found = await explain(database, calendar, "S", DAY)
        assert (found.verdict, found.steps) == ("NOT_DUE", [reason])


async def test_what_is_dated_before_the_first_business_day_is_said_to_be(
    url: str, database: Database
) -> None:
    """Its age cannot be counted: "1 business day old" and PRICE_TOO_OLD would explain nothing."""
    await load_position(database, "2", base="EUR", rates={"USD/EUR": "0.9"}, first_day=DAY)
    first = f"before the first business day of calendar CAL, {DAY}"
    await execute(database, "DELETE FROM fx_rates WHERE rate_date = $1", DAY)
    found = await explain(database, "P", "S", DAY)
    assert found.missing == f"FX_MISSING USD/EUR {DAY}"
    assert found.steps[-2] == (
        f"FX USD/EUR: 0.9 of {BEFORE}, {first}, so it counts as older than the limit of 5: not used"
    )
    await execute(database, "DELETE FROM market_prices WHERE price_date = $1", DAY)
    found = await explain(database, "P", "S", DAY)
    assert found.missing == f"PRICE_TOO_OLD S {DAY}"
    assert found.steps[-2:] == [
        f"Price: 2 USD PER_UNIT of {BEFORE}, {first}, so it counts as older than the limit of 3",
        f"No number: PRICE_TOO_OLD S {DAY}",
    ]


async def test_one_business_day_is_not_days(url: str, database: Database) -> None:
    await load_position(database, "2")
    await execute(database, "DELETE FROM market_prices WHERE price_date = $1", DAY)
    found = await explain(database, "P", "S", DAY)
    assert any(f"of {BEFORE}, 1 business day old (limit 3)" in step for step in found.steps)
