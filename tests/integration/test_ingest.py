"""What comes in: everything wrong is found at once, nothing is half loaded, the same twice changes nothing."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidInputError
from engine.ingest import Kind, RejectedInputError, load
from engine.store.database import Database
from tests.conftest import drop_database, fresh_database
from tests.support import DAYS, execute, facts, fetch, key_state, load_small_book, prices

GOOD = {
    "business_dates": {"calendar_id": ["CAL"], "business_date": ["2024-02-01"]},
    "portfolios": {"portfolio_id": ["NEW"], "base_currency": ["USD"], "calendar_id": ["CAL"]},
    "instruments": {"security_id": ["C"], "currency": ["GBP"], "max_price_age_sessions": ["3"]},
    "fx_rates": {"base_currency": ["EUR"], "quote_currency": ["GBP"], "rate_date": ["2024-01-01"], "rate": ["0.85"]},
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


@pytest.fixture
async def book(database: Database) -> Database:
    await load_small_book(database, portfolios=1)
    return database


@pytest.mark.parametrize("kind", list(Kind))
async def test_the_same_file_twice_changes_and_triggers_nothing(book: Database, kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "input.csv"
    pl.DataFrame(GOOD[kind]).write_csv(path)
    first = await load(book, kind, path)
    assert (first.rows, first.inserted + first.changed) == (1, 1)
    seen = "SELECT (SELECT count(*) FROM reprocessing_triggers), (SELECT sum(revision + epoch) FROM position_state)"
    before = (
        await fetch(book, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {TABLES[kind]} t"),
        await fetch(book, seen),
    )
    second = await load(book, kind, path)
    assert (second.unchanged, second.inserted, second.changed, second.removed) == (1, 0, 0, 0)
    assert before == (
        await fetch(book, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {TABLES[kind]} t"),
        await fetch(book, seen),
    )


def changed(kind: str, **cells: object) -> pl.DataFrame:
    return pl.DataFrame({**GOOD[kind], **{name: [value] for name, value in cells.items()}}, strict=False)


@pytest.mark.parametrize(
    ("kind", "frame", "problem"),
    [
        ("prices", lambda: changed("prices").drop("currency"), "currency: missing column"),
        ("prices", lambda: changed("prices", colour="red"), "colour: unknown column"),
        ("prices", lambda: changed("prices", price_date=5), "price_date: wrong type Int64: a column of dates is expected"),
        ("prices", lambda: changed("prices", price=True), "price: wrong type Boolean: a column of decimals is expected"),
        ("prices", lambda: changed("prices", security_id="Z"), "security_id: unknown security: 1 rows (row 1: Z)"),
        ("prices", lambda: changed("prices", security_id=" A"), "security_id: blanks around the text"),
        ("prices", lambda: changed("prices", security_id=None), "security_id: missing value"),
        ("prices", lambda: changed("prices", currency="ZZZ"), "currency: unknown currency: 1 rows (row 1: ZZZ)"),
        ("prices", lambda: changed("prices", price=float("nan")), "price: not a number (NaN or infinite): 1 rows (row 1: nan)"),
        ("prices", lambda: changed("prices", price="NaN"), "price: not a number: 1 rows (row 1: NaN)"),
        ("prices", lambda: changed("prices", price="1e5"), "price: not a number"),
        ("prices", lambda: changed("prices", price="0"), "price: not positive"),
        ("prices", lambda: changed("prices", price="-3"), "price: not positive"),
        ("prices", lambda: changed("prices", price="0.12345678901"), "price: more than 10 decimal places"),
        ("prices", lambda: changed("prices", price="1234567890123456789"), "price: more than 18 digits before the point"),
        ("prices", lambda: changed("prices", price_date="01/02/2024"), "price_date: no date"),
        ("prices", lambda: changed("prices", price_date="2024-02-30"), "price_date: no date"),
        ("prices", lambda: changed("prices", price_date=datetime(2024, 2, 1, 9)), "price_date: no date"),
        ("prices", lambda: changed("prices", price_date=date(1850, 1, 1)), "price_date: date out of range"),
        ("prices", lambda: changed("prices", quote_basis="PER_KILO"), "quote_basis: none of PER_UNIT"),
        ("prices", lambda: changed("prices", quote_basis="PER_CONTRACT"), "the instrument has no contract_multiplier"),
        (
            "prices",
            lambda: pl.concat([changed("prices")] * 2),
            "the same security_id, price_date as a row before: 1 rows (row 2",
        ),
        ("fx_rates", lambda: changed("fx_rates", quote_currency="GBX"), "quote_currency: a quotation unit"),
        ("fx_rates", lambda: changed("fx_rates", quote_currency="EUR"), "quote_currency: a rate of a currency to itself"),
        ("fx_rates", lambda: changed("fx_rates", rate="0"), "rate: not positive"),
        ("portfolios", lambda: changed("portfolios", base_currency="GBp"), "base_currency: a quotation unit"),
        ("portfolios", lambda: changed("portfolios", calendar_id="MOON"), "calendar_id: unknown calendar"),
        ("instruments", lambda: changed("instruments", max_price_age_sessions=-1), "not between 0 and 100000"),
        ("instruments", lambda: changed("instruments", contract_multiplier="0"), "contract_multiplier: not positive"),
        ("positions", lambda: changed("positions", portfolio_id="P9"), "portfolio_id: unknown portfolio"),
        ("positions", lambda: changed("positions", quantity="0"), "quantity: a cost basis without a quantity"),
    ],
)
async def test_what_is_wrong_is_named_with_its_rows(
    book: Database, kind: str, frame: Callable[[], pl.DataFrame], problem: str
) -> None:
    before = await fetch(book, f"SELECT count(*) FROM {TABLES[kind]}")
    with pytest.raises(RejectedInputError) as refused:
        await load(book, kind, frame())
    assert problem in str(refused.value)
    assert await fetch(book, f"SELECT count(*) FROM {TABLES[kind]}") == before


async def test_all_that_is_wrong_in_a_file_is_said_at_once_with_line_numbers(book: Database, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    good = [f"A,2024-03-{day:02},5.5,USD,PER_UNIT" for day in range(1, 20)]
    bad = ["Z,2024-03-01,5.5,USD,PER_UNIT", "A,2024-03-30,-1,USD,PER_UNIT", "A,2024-03-05,6,USD,PER_UNIT"]
    path.write_text("\n".join(["security_id,price_date,price,currency,quote_basis", *good, *bad]) + "\n")
    with pytest.raises(RejectedInputError) as refused:
        await load(book, "prices", path)
    assert [(p.column, p.count, p.rows[0][0]) for p in refused.value.problems] == [
        ("security_id", 1, 23),
        ("price", 1, 22),
        ("security_id", 1, 21),
    ]
    assert "22 rows, nothing loaded" in str(refused.value)
    assert await fetch(book, "SELECT count(*) FROM market_prices WHERE price_date >= '2024-03-01'") == [(0,)]


async def test_numbers_are_taken_as_they_are_printed(book: Database, tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    floats = [0.1, 1e-05, 123456.789, 2e-10]
    pl.DataFrame({"price_date": [date(2025, 1, n) for n in range(1, 5)], "price": floats}).with_columns(
        security_id=pl.lit("A"), currency=pl.lit("USD"), quote_basis=pl.lit("PER_UNIT")
    ).write_parquet(path)
    await load(book, "prices", path)
    stored = [
        row[0]
        for row in await fetch(book, "SELECT price FROM market_prices WHERE price_date >= '2025-01-01' ORDER BY price_date")
    ]
    assert stored == [Decimal("0.1"), Decimal("0.00001"), Decimal("123456.789"), Decimal("0.0000000002")]


@pytest.mark.parametrize("name", ["missing.csv", "wrong.txt", "broken.parquet"])
async def test_a_file_that_cannot_be_read_is_said_so(book: Database, tmp_path: Path, name: str) -> None:
    (tmp_path / "wrong.txt").write_text("x")
    (tmp_path / "broken.parquet").write_text("x")
    with pytest.raises(InvalidInputError, match=name):
        await load(book, "prices", tmp_path / name)


# Positions ------------------------------------------------------------------------------------------------------------

Facts = dict[int, int]
LAST = 14


def day(number: int) -> date:
    return date(2024, 1, 1) + timedelta(days=number)


def held(history: Facts, at: int) -> int | None:
    known = [quantity for when, quantity in sorted(history.items()) if when <= at]
    return known[-1] if known else None


def is_open(history: Facts, at: int) -> bool:
    earlier = [quantity for when, quantity in sorted(history.items()) if when < at]
    return bool(held(history, at)) or (history.get(at) == 0 and bool(earlier) and earlier[-1] != 0)


loaded_facts = st.dictionaries(st.integers(0, LAST), st.sampled_from([0, 0, 3, 5]), min_size=1, max_size=4)


@settings(max_examples=40)
@given(st.lists(st.tuples(loaded_facts, st.booleans(), st.one_of(st.none(), st.integers(0, LAST))), min_size=1, max_size=5))
async def test_histories_open_dates_and_what_is_owed_follow_every_load(
    server_url: str, template: str, loads: list[tuple[Facts, bool, int | None]]
) -> None:
    url = await fresh_database(server_url, template)
    try:
        async with await Database.open(url) as database:
            await load_small_book(database, portfolios=1)
            await execute(database, "DELETE FROM position_history")
            await execute(database, "UPDATE position_state SET open_dates = '{}', published_open_dates = '{}'")
            history: Facts = {}
            frontier: int | None = None
            for given_facts, merge, moved in loads:
                if moved is not None and (frontier is None or moved > frontier):
                    frontier = moved
                    await execute(
                        database, "UPDATE position_state SET frontier_date = $1 WHERE security_id = 'A'", day(frontier)
                    )
                earliest = min(given_facts)
                kept = {d: q for d, q in history.items() if d < earliest or (merge and d not in given_facts)}
                becomes = {**kept, **given_facts}
                before = await key_state(database, "P1", "A")
                result = await load(
                    database, "positions", facts("P1", "A", {day(d): str(q) for d, q in given_facts.items()}), merge=merge
                )
                after = await key_state(database, "P1", "A")
                differing = [d for d in range(LAST + 1) if history.get(d) != becomes.get(d)]
                corrected = bool(differing) and frontier is not None and differing[0] <= frontier
                assert (result.keys_corrected, result.keys_extended) == (int(corrected), int(bool(differing) and not corrected))
                assert after["epoch"] - before["epoch"] == int(corrected)
                if not differing:
                    assert after == before
                await check_key(database, becomes, history, corrected, frontier, before, after)
                history = becomes
    finally:
        await drop_database(server_url, url)


def inside(spans, number: int) -> bool:  # type: ignore[no-untyped-def]
    at = day(number)
    return any((span.lower is None or span.lower <= at) and (span.upper is None or at < span.upper) for span in spans)


async def check_key(database, becomes, history, corrected, frontier, before, after) -> None:  # type: ignore[no-untyped-def]
    stored = await fetch(
        database,
        "SELECT position_date, quantity FROM position_history WHERE position_id = $1 AND epoch = $2",
        after["position_id"],
        after["history_epoch"],
    )
    assert {when: int(quantity) for when, quantity in stored} == {day(d): q for d, q in becomes.items()}
    days = range(LAST + 3)
    assert [inside(after["open_dates"], d) for d in days] == [is_open(becomes, d) for d in days]
    if not corrected:
        assert after["pending"] == before["pending"]
        return
    for d in days:
        differs = (held(history, d), is_open(history, d)) != (held(becomes, d), is_open(becomes, d))
        if d <= frontier and is_open(becomes, d) and differs:
            assert inside(after["pending"], d), f"day {d} changed and is not owed"
        if inside(after["pending"], d) and not inside(before["pending"], d):
            assert d <= frontier
            assert is_open(becomes, d)
            # No further than the next fact of either history after one that differs.
            changes = [c for c in range(LAST + 1) if history.get(c) != becomes.get(c) and c <= d]
            assert changes, f"day {d} is before any change"


async def test_the_days_of_a_load_are_dates() -> None:
    assert DAYS[0] == day(0)
    assert prices("A", {day(0): "1"})["price_date"][0] == day(0)
