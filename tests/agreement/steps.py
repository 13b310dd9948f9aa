"""A small random book, and all that can happen to it."""

import random
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from revalue.engine.changes import DeletePrice, DeleteRate, Position, Price, Rate, Split
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.reverts.reverts import revert
from revalue.engine.lake.maintain import maintain
from revalue.engine.operate.prune import prune
from revalue.engine.postgres.database import Database
from revalue.engine.preview.preview import preview
from tests.support import SETTINGS, execute, fetch

if TYPE_CHECKING:
    from tests.agreement.world import World

DAYS = [date(2024, 2, 19) + timedelta(days=n) for n in range(26)]
BUSINESS = {
    "C1": [d for d in DAYS if d.isoweekday() < 6 and d.day not in (23, 5)],
    "C2": [d for d in DAYS if d.isoweekday() < 6 and d.day not in (27, 28, 29, 11)],
}
PORTFOLIOS = {"P1": ("USD", "C1"), "P2": ("EUR", "C2"), "P3": ("GBP", "C1"), "P4": ("JPY", "C2")}
# security: currency, multiplier, age, quotation currencies, basis, price in cents
SECURITIES = {
    "S1": ("USD", None, 2, ("USD",), "PER_UNIT", 10000),
    "S2": ("GBP", None, 1, ("GBX", "GBP"), "PER_UNIT", 45000),
    "S3": ("EUR", None, 3, ("EUR",), "PERCENT_OF_PAR", 9900),
    "S4": ("USD", "50", 0, ("USD",), "PER_CONTRACT", 480000),
    "S5": ("JPY", None, 2, ("JPY", "USD"), "PER_UNIT", 250000),
    "S6": ("EUR", None, 5, ("GBX",), "PER_UNIT", 3000),
}
PAIRS = {
    ("EUR", "USD"): "1.08",
    ("EUR", "GBP"): "0.85",
    ("USD", "JPY"): "150",
    ("EUR", "JPY"): "162",
    ("GBP", "USD"): "1.26",
}


def price_rows(draw: random.Random, securities: Iterable[str], days: list[date], share: float):
    rows = []
    for security in securities:
        _, _, _, quotations, basis, cents = SECURITIES[security]
        for day in days:
            if draw.random() < share:
                currency = draw.choice(quotations)
                price = Decimal(cents + draw.randint(-cents // 5, cents // 3)).scaleb(-2)
                price += Decimal(draw.randint(0, 99)).scaleb(-10)
                rows.append((security, day, str(price), currency, basis))
    columns = ["security_id", "price_date", "price", "currency", "quote_basis"]
    return pl.DataFrame(
        rows, schema={n: pl.Date if n == "price_date" else pl.String for n in columns}, orient="row"
    )


def rate_rows(
    draw: random.Random, pairs: Iterable[tuple[str, str]], days: list[date], share: float
):
    rows = [
        (*pair, day, str(round(Decimal(PAIRS[pair]) * draw.randint(900, 1150) / 1000, 6)))
        for pair in pairs
        for day in days
        if draw.random() < share
    ]
    columns = ["base_currency", "quote_currency", "rate_date", "rate"]
    return pl.DataFrame(
        rows, schema={n: pl.Date if n == "rate_date" else pl.String for n in columns}, orient="row"
    )


def record(draw: random.Random, security: str) -> tuple[str, str, str]:
    if draw.random() < 0.25:
        return "0", "0", "0"
    quantity = Decimal(draw.randint(-4000, 9000)).scaleb(-draw.choice([0, 1, 4]))
    if not quantity:
        return "0", "0", "0"
    cost = draw.randint(-50_000, 900_000)
    return str(quantity), f"{cost}.{draw.randint(0, 99):02}", f"{cost + 17}.5"


def position_rows(
    draw: random.Random, keys: Iterable[tuple[str, str]], days: list[date], most: int
):
    rows = []
    for portfolio, security in keys:
        for day in sorted(draw.sample(days, draw.randint(1, most))):
            rows.append((portfolio, security, day, *record(draw, security)))
    columns = [
        "portfolio_id",
        "security_id",
        "position_date",
        "quantity",
        "cost_basis_local",
        "cost_basis",
    ]
    return pl.DataFrame(
        rows,
        schema={n: pl.Date if n == "position_date" else pl.String for n in columns},
        orient="row",
    )


async def load_book(database: Database, draw: random.Random) -> None:
    await execute(
        database,
        "UPDATE valuation_policy SET fx_pivot_currency = 'EUR', fx_max_age_sessions = $1",
        draw.choice([0, 1, 2, 3]),
    )
    await load(
        database,
        "business_dates",
        pl.DataFrame(
            [(c, d) for c, days in BUSINESS.items() for d in days],
            schema=["calendar_id", "business_date"],
            orient="row",
        ),
    )
    await load(
        database,
        "portfolios",
        pl.DataFrame(
            [(p, *rest) for p, rest in PORTFOLIOS.items()],
            schema=["portfolio_id", "base_currency", "calendar_id"],
            orient="row",
        ),
    )
    await load(
        database,
        "instruments",
        pl.DataFrame(
            [(s, c, m, a) for s, (c, m, a, *_) in SECURITIES.items()],
            schema={
                "security_id": pl.String,
                "currency": pl.String,
                "contract_multiplier": pl.String,
                "max_price_age_sessions": pl.Int32,
            },
            orient="row",
        ),
    )
    days = DAYS[:16]
    pairs = draw.sample(list(PAIRS), draw.randint(3, 5))
    await load(database, "fx_rates", rate_rows(draw, pairs, days, 0.8))
    await load(database, "prices", price_rows(draw, SECURITIES, days, 0.85))
    keys = [(p, s) for p in PORTFOLIOS for s in SECURITIES if draw.random() < 0.7]
    await load(database, "positions", position_rows(draw, keys, days, 3))
    await open_calendars(database, DAYS[11], None)


async def change(world: "World") -> str:
    """Do one thing to the book; say what."""
    draw, database, data = world.draw, world.database, world.data
    what = draw.choice(
        ["price", "price", "rate", "rate", "delete price", "delete rate", "position", "position",
         "split", "load prices", "load rates", "load positions", "replace", "snapshot", "revert",
         "open", "back", "day out", "day in", "policy", "age", "prune",
         *(["maintain"] * 2 if world.has_lake else [])]
    )  # fmt: skip
    day = draw.choice(DAYS[:20])
    some_days = draw.sample(DAYS[:18], 3)
    of_correction: Any = None
    match what:
        case "price" | "delete price" if data.prices:
            security = draw.choice(sorted(data.prices))
            day, price, *_ = draw.choice(data.prices[security])
            new = price * draw.randint(60, 150) / 100
            new = new.quantize(Decimal(1).scaleb(-10))
            is_new = what == "price"
            of_correction = Price(security, day, new) if is_new else DeletePrice(security, day)
        case "rate" | "delete rate" if data.rates:
            pair = draw.choice(sorted(data.rates))
            day, rate = draw.choice(data.rates[pair])
            new = (rate * draw.randint(70, 140) / 100).quantize(Decimal(1).scaleb(-9))
            is_new = what == "rate"
            of_correction = Rate(*pair, day, new) if is_new else DeleteRate(*pair, day)
        case "position" if data.records:
            key = draw.choice(sorted(data.records))
            quantity, cost_local, cost = map(Decimal, record(draw, key[1]))
            of_correction = Position(*key, day, quantity, cost_local, cost)
        case "split":
            of_correction = Split(draw.choice(sorted(SECURITIES)), day, "2:1", again=True,
                                  all_records=True)  # fmt: skip
        case "load prices":
            frame = price_rows(draw, draw.sample(sorted(SECURITIES), 3), some_days, 0.9)
            await load(database, "prices", frame)
        case "load rates":
            frame = rate_rows(draw, draw.sample(sorted(PAIRS), 2), some_days, 0.9)
            await load(database, "fx_rates", frame)
        case "load positions" | "replace":
            keys = [(draw.choice(sorted(PORTFOLIOS)), draw.choice(sorted(SECURITIES)))]
            frame = position_rows(draw, keys, DAYS[:18], 3)
            await load(database, "positions", frame, replace=what == "replace")
        case "snapshot":
            portfolio = draw.choice(sorted(PORTFOLIOS))
            keys = [(portfolio, s) for s in draw.sample(sorted(SECURITIES), 2)]
            frame = position_rows(draw, keys, [day], 1)
            await load(database, "positions", frame, snapshot=True)
        case "revert":
            [(last,)] = await fetch(database, "SELECT max(load_id) FROM loads")
            await revert(database, draw.randint(min(4, last), last), keep_later=draw.random() < 0.7)
        case "open" | "back":
            await open_calendars(
                database, day, [draw.choice(["C1", "C2"])] if draw.random() < 0.0 else None,
                back=what == "back",
            )  # fmt: skip
        case "day out" | "day in":
            calendar = draw.choice(["C1", "C2"])
            days = data.calendars[calendar]
            if what == "day out":
                out = draw.choice(days)
                if out != data.opened[calendar]:
                    await execute(
                        database,
                        "DELETE FROM business_dates WHERE calendar_id = $1 AND business_date = $2",
                        calendar,
                        out,
                    )
            else:
                frame = pl.DataFrame({"calendar_id": [calendar], "business_date": [day]})
                await load(database, "business_dates", frame)
        case "policy":
            await execute(
                database, "UPDATE valuation_policy SET fx_max_age_sessions = $1, "
                "fx_pivot_currency = $2", draw.randint(0, 4), draw.choice(["EUR", "USD", "EUR"])
            )  # fmt: skip
        case "age":
            await execute(
                database, "UPDATE instruments SET max_price_age_sessions = $1 "
                "WHERE security_id = $2", draw.randint(0, 5), draw.choice(sorted(SECURITIES))
            )  # fmt: skip
        case "prune" if world.kept:
            moment = draw.choice(world.kept).moment
            await prune(database, before=moment)
            world.is_pruned = True
            world.kept = [kept for kept in world.kept if kept.moment >= moment]
        case "maintain" if world.has_lake:
            await maintain(database, least_moved=draw.choice([1, 50]))
    if of_correction is not None:
        world.promised = await preview(database, of_correction.apply, SETTINGS, movers=5)
        made = await of_correction.apply(database)
        what = f"{of_correction} {made}"
    return what
