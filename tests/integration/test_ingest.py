"""Loads report all problems at once, write all or nothing, and change nothing when repeated."""

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revalue.engine.correct.inputs import sorted_rows, sources
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.problems import ProblemKind, RejectedInputError
from revalue.engine.correct.loads import load as load_module
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.loads.load_progress import LoadProgress
from revalue.engine.correct.writes import new_positions, new_prices, upserts
from revalue.engine.errors import CorrectionRefusedError, InvalidInputError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import Connection
from tests.conftest import book_template, drop_database, fresh_database
from tests.support import DAYS, examples, execute, facts, fetch, prices, state_of

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


@pytest.fixture
async def book(server_url: str, template: str) -> AsyncIterator[Database]:
    loaded = await book_template(server_url, template, 1, valued=False)
    url = await fresh_database(server_url, loaded)
    async with await Database.open(url) as opened:
        yield opened
    await drop_database(server_url, url)


@pytest.mark.parametrize("kind", list(Kind))
async def test_the_same_file_twice_changes_and_triggers_nothing(
    book: Database, kind: Kind, tmp_path: Path
) -> None:
    path = tmp_path / "input.csv"
    pl.DataFrame(GOOD[kind]).write_csv(path)
    first = await load(book, kind, path)
    assert (first.rows, first.inserted + first.changed) == (1, 1)
    seen = """SELECT (SELECT count(*) FROM reprocessing_triggers),
                     (SELECT sum(revision + epoch) FROM position_state)"""
    before = (
        await fetch(
            book, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {TABLES[kind]} t"
        ),
        await fetch(book, seen),
    )
    second = await load(book, kind, path)
    assert (second.unchanged, second.inserted, second.changed, second.removed) == (1, 0, 0, 0)
    assert before == (
        await fetch(
            book, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {TABLES[kind]} t"
        ),
        await fetch(book, seen),
    )


async def test_loads_of_the_same_rows_use_up_no_numbers(book: Database) -> None:
    """calendars.calendar_no is a smallint: 32,767 loads would use it up."""
    frames = {kind: pl.DataFrame(GOOD[kind]) for kind in GOOD}
    for kind, frame in frames.items():
        await load(book, kind, frame)
    frames["instruments"] = frames["instruments"].with_columns(currency=pl.lit("USD"))
    changed = await load(book, "instruments", frames["instruments"])
    assert (changed.inserted, changed.changed, changed.unchanged) == (0, 1, 0)
    numbers = """SELECT sequencename, last_value FROM pg_sequences
                 WHERE data_type <> 'bigint'::regtype"""
    taken = dict(await fetch(book, numbers))
    assert taken["calendars_calendar_no_seq"] == 1
    assert taken["instruments_instrument_no_seq"] == 3
    for _ in range(20):
        for kind, frame in frames.items():
            await load(book, kind, frame)
    assert dict(await fetch(book, numbers)) == taken


def changed(kind: str, **cells: object) -> pl.DataFrame:
    return pl.DataFrame(
        {**GOOD[kind], **{name: [value] for name, value in cells.items()}}, strict=False
    )


@pytest.mark.parametrize(
    ("kind", "frame", "problem"),
    [
        ("prices", lambda: changed("prices").drop("currency"), "currency: missing column"),
        ("prices", lambda: changed("prices", colour="red"), "colour: unknown column"),
        (
            "prices",
            lambda: changed("prices", price_date=5),
            "price_date: wrong type Int64: a column of dates is expected",
        ),
        (
            "prices",
            lambda: changed("prices", price=True),
            "price: wrong type Boolean: a column of decimals is expected",
        ),
        (
            "prices",
            lambda: changed("prices", security_id="Z"),
            "security_id: unknown security: 1 row (row 1: Z)",
        ),
        (
            "prices",
            lambda: changed("prices", security_id=" A"),
            "security_id: blanks around the text",
        ),
        ("prices", lambda: changed("prices", security_id=None), "security_id: missing value"),
        (
            "prices",
            lambda: changed("prices", currency="ZZZ"),
            "currency: unknown currency: 1 row (row 1: ZZZ)",
        ),
        (
            "prices",
            lambda: changed("prices", price=float("nan")),
            "price: not a number (NaN or infinite): 1 row (row 1: nan)",
        ),
        (
            "prices",
            lambda: changed("prices", price="NaN"),
            "price: not a number such as 1070.5: 1 row (row 1: NaN)",
        ),
        ("prices", lambda: changed("prices", price="1e"), "price: not a number"),
        ("prices", lambda: changed("prices", price="1e1000"), "price: not a number"),
        (
            "prices",
            lambda: changed("prices", price="1.5e18"),
            "price: more than 18 digits before the point: 1 row (row 1: 1.5e18)",
        ),
        (
            "prices",
            lambda: changed("prices", price="1.5e-10"),
            "price: more than 10 decimal places: round it before loading: 1 row (row 1: 1.5e-10)",
        ),
        (
            "prices",
            lambda: changed("prices", price=Decimal("0E-10")),
            "price: not positive: 1 row (row 1: 0.0000000000)",
        ),
        ("prices", lambda: changed("prices", price="0"), "price: not positive"),
        ("prices", lambda: changed("prices", price="-3"), "price: not positive"),
        (
            "prices",
            lambda: changed("prices", price="0.12345678901"),
            "price: more than 10 decimal places",
        ),
        (
            "prices",
            lambda: changed("prices", price="1234567890123456789"),
            "price: more than 18 digits before the point",
        ),
        ("prices", lambda: changed("prices", price_date="01/02/2024"), "price_date: no date"),
        ("prices", lambda: changed("prices", price_date="2024-02-30"), "price_date: no date"),
        (
            "prices",
            lambda: changed("prices", price_date=datetime(2024, 2, 1, 9)),
            "price_date: no date",
        ),
        (
            "prices",
            lambda: changed("prices", price_date=date(1850, 1, 1)),
            "price_date: date out of range",
        ),
        (
            "prices",
            lambda: changed("prices", quote_basis="PER_KILO"),
            "quote_basis: none of PER_UNIT",
        ),
        (
            "prices",
            lambda: changed("prices", quote_basis="PER_CONTRACT"),
            "the instrument has no contract_multiplier",
        ),
        (
            "prices",
            lambda: pl.concat([changed("prices")] * 2),
            "the same security_id, price_date as a row before: 1 row (row 2",
        ),
        (
            "fx_rates",
            lambda: changed("fx_rates", quote_currency="GBX"),
            "quote_currency: a quotation unit",
        ),
        (
            "fx_rates",
            lambda: changed("fx_rates", quote_currency="EUR"),
            "quote_currency: a rate of a currency to itself",
        ),
        ("fx_rates", lambda: changed("fx_rates", rate="0"), "rate: not positive"),
        (
            "portfolios",
            lambda: changed("portfolios", base_currency="GBp"),
            "base_currency: a quotation unit",
        ),
        (
            "portfolios",
            lambda: changed("portfolios", calendar_id="MOON"),
            "calendar_id: unknown calendar",
        ),
        (
            "instruments",
            lambda: changed("instruments", max_price_age_sessions=-1),
            "not between 0 and 100000",
        ),
        (
            "instruments",
            lambda: changed("instruments", contract_multiplier="0"),
            "contract_multiplier: not positive",
        ),
        (
            "positions",
            lambda: changed("positions", portfolio_id="P9"),
            "portfolio_id: unknown portfolio",
        ),
        (
            "positions",
            lambda: changed("positions", quantity="0"),
            "quantity: a cost basis without a quantity",
        ),
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


async def test_all_that_is_wrong_in_a_file_is_said_at_once_with_line_numbers(
    book: Database, tmp_path: Path
) -> None:
    path = tmp_path / "prices.csv"
    good = [f"A,2024-03-{day:02},5.5,USD,PER_UNIT" for day in range(1, 20)]
    bad = [
        "Z,2024-03-01,5.5,USD,PER_UNIT",
        "A,2024-03-30,-1,USD,PER_UNIT",
        "A,2024-03-05,6,USD,PER_UNIT",
    ]
    path.write_text(
        "\n".join(["security_id,price_date,price,currency,quote_basis", *good, *bad]) + "\n"
    )
    with pytest.raises(RejectedInputError) as refused:
        await load(book, "prices", path)
    assert [(p.column, p.count, p.rows[0][0]) for p in refused.value.problems] == [
        ("security_id", 1, 23),
        ("price", 1, 22),
        ("security_id", 1, 21),
    ]
    assert "22 rows, nothing loaded" in str(refused.value)
    assert await fetch(
        book, "SELECT count(*) FROM market_prices WHERE price_date >= '2024-03-01'"
    ) == [(0,)]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few rows, runs in files, and ranges of one page."""
    monkeypatch.setattr(sorted_rows, "RUN_ROWS", 30)
    monkeypatch.setattr(sorted_rows, "FRAME_ROWS", 20)
    monkeypatch.setattr(sorted_rows, "_BATCH_ROWS", 4)
    monkeypatch.setattr(sources, "BATCH_ROWS", 7)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 200)
    monkeypatch.setattr(upserts, "_RANGE_ROWS", 1)


def rows_of_prices(number: int, price: str) -> list[str]:
    """Lines of a file of prices that is not in the order of its keys."""
    return [
        f"{'BA'[n % 2]},{date(2025, 1, 1) + timedelta(n // 2)},{price},USD,PER_UNIT"
        for n in range(number)
    ]


HEADER = "security_id,price_date,price,currency,quote_basis"


@pytest.mark.usefixtures("small_batches")
async def test_rules_broken_in_several_batches_are_said_once_with_line_numbers(
    book: Database, tmp_path: Path
) -> None:
    lines = rows_of_prices(200, "5.5")
    for row in (3, 100, 150, 160, 170, 180):
        lines[row] = f"A,2026-01-{row % 28 + 1:02},-{row},USD,PER_UNIT"
    lines[120] = lines[1]
    lines[140] = lines[1]
    lines[190] = "Z,2025-01-01,5.5,ZZZ,PER_UNIT"
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    with pytest.raises(RejectedInputError) as refused:
        await load(book, "prices", path)
    assert [(p.kind, p.count, p.rows) for p in refused.value.problems] == [
        ("duplicate_key", 2, ((122, "A 2025-01-01"), (142, "A 2025-01-01"))),
        ("not_positive", 6, tuple((row + 2, f"-{row}") for row in (3, 100, 150, 160, 170))),
        ("unknown_reference", 1, ((192, "Z"),)),
        ("unknown_reference", 1, ((192, "ZZZ"),)),
    ]
    assert "200 rows, nothing loaded" in str(refused.value)


@pytest.mark.usefixtures("small_batches")
async def test_a_file_of_several_batches_is_written_in_ranges_and_counted(
    book: Database, tmp_path: Path
) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([HEADER, *rows_of_prices(500, "5.5")]))
    seen: list[LoadProgress] = []
    first = await load(book, "prices", path, on_progress=seen.append)
    assert (first.rows, first.inserted, first.changed, first.unchanged) == (500, 500, 0, 0)
    assert [step for step, _ in groupby(each.step for each in seen)] == [
        "reading",
        "checking",
        "writing",
        "committing",
    ]
    reach = """SELECT security_id, range_agg(dates)::text FROM reprocessing_triggers
               WHERE fanned_out_at IS NULL GROUP BY security_id ORDER BY 1"""
    await execute(book, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    changed = [*rows_of_prices(500, "5.5")[:-60], *rows_of_prices(520, "6")[-80:]]
    path.write_text("\n".join([HEADER, *changed]))
    second = await load(book, "prices", path)
    assert (second.inserted, second.changed, second.unchanged) == (20, 60, 440)
    begin = date(2025, 1, 1) + timedelta(220)
    assert await fetch(book, reach) == [(name, f"{{[{begin},)}}") for name in "AB"]
    third = await load(book, "prices", path)
    assert (third.inserted, third.changed, third.unchanged) == (0, 0, 520)


# New rows go straight into the tables. Inside of an open transaction, where nothing could be rolled
# back, all rows go by way of `incoming`: so that is what the former is compared with.

WRITTEN = {
    "prices": """
        SELECT security_id, price_date, price, currency, quote_basis FROM market_prices""",
    "quotation currencies": "SELECT security_id, currency FROM security_quote_currencies",
    "triggers": """
        SELECT kind, security_id, range_agg(dates)::text FROM reprocessing_triggers
        WHERE fanned_out_at IS NULL OR kind = 'POSITION' GROUP BY kind, security_id""",
    "positions": """
        SELECT to_jsonb(p) - '{position_id,trigger_id,stale_moment,invalidated_moment}'::text[]
        FROM position_state p""",
    "the order of positions": """
        SELECT portfolio_id, security_id, row_number() OVER (ORDER BY position_id)
        FROM position_state""",
    "records": """
        SELECT portfolio_id, security_id, to_jsonb(h) - 'position_id'
        FROM position_history h JOIN position_state USING (position_id)""",
    "publications": """
        SELECT portfolio_id, security_id, to_jsonb(w) - '{position_id,moment_id}'::text[]
        FROM publications w JOIN position_state USING (position_id)""",
    "noted": """
        SELECT portfolio_id, security_id FROM position_state
        WHERE EXISTS (SELECT FROM unstaged_positions
                      WHERE position_id BETWEEN first_position_id AND last_position_id)""",
}


async def both_ways(
    book: Database,
    kind: Kind,
    frame: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_replaced: bool = False,
) -> None:
    """Load twice from the same state; compare all that was written."""

    async def written(connection: Connection) -> dict[str, list[str]]:
        return {
            name: sorted(str(tuple(row)) for row in await connection.fetch(query))
            for name, query in WRITTEN.items()
        }

    async with book.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        compared = await load(OpenTransaction(connection), kind, frame, replace=is_replaced)
        expected = await written(connection)
        await transaction.rollback()
        monkeypatch.delattr(load_module, "check")
        straight = await load(book, kind, frame, replace=is_replaced)
        assert await written(connection) == expected
    own = {"trigger_id": None, "load_id": None}
    assert asdict(straight) | own == asdict(compared) | own


@pytest.mark.usefixtures("small_batches")
async def test_new_prices_are_written_as_if_all_were_compared(
    book: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(book, "instruments", changed("instruments"))
    await execute(book, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    rows = [("C", day, "5") for day in DAYS]  # a security without a price
    rows += [("B", DAYS[-1] + timedelta(n), "6") for n in range(1, 40)]  # after all prices
    rows += [("A", DAYS[0] - timedelta(40), "7"), ("A", DAYS[3], "8"), ("A", DAYS[4], "100.5")]
    frame = pl.DataFrame(rows, schema=["security_id", "price_date", "price"], orient="row")
    frame = frame.with_columns(currency=pl.lit("GBX"), quote_basis=pl.lit("PER_UNIT"))
    await both_ways(book, Kind.PRICES, frame.sample(fraction=1, shuffle=True, seed=1), monkeypatch)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_new_positions_are_written_as_if_all_were_compared(
    book: Database, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    await load(book, "instruments", changed("instruments"))
    others = [f"P{number}" for number in range(2, 12)]
    portfolios = pl.DataFrame({"portfolio_id": others, "base_currency": "EUR"})
    await load(book, "portfolios", portfolios.with_columns(calendar_id=pl.lit("CAL")))
    await load(book, "positions", frame_of("A", {9: HELD}))
    closed_and_open_again = {1: HELD, 4: GONE, 5: MORE, 8: GONE, 9: GONE, 11: HELD}
    histories = [
        *((portfolio, "C", closed_and_open_again) for portfolio in others),
        ("P2", "B", {3: HELD}),
        ("P3", "B", {3: GONE}),
        ("P4", "B", {3: GONE, 5: HELD, 6: GONE}),
        ("P1", "A", {2: MORE, 6: GONE}),  # these two exist, one with a later record
        ("P1", "B", {0: HELD}),
    ]
    given = pl.concat(
        frame_of(security, model).with_columns(portfolio_id=pl.lit(portfolio))
        for portfolio, security, model in histories
    )
    given = given.sample(fraction=1, shuffle=True, seed=1)
    await both_ways(book, Kind.POSITIONS, given, monkeypatch, is_replaced=is_replaced)


@pytest.mark.parametrize(
    ("kind", "module", "looked"),
    [
        (Kind.PRICES, new_prices, "_has_stored_prices"),
        (Kind.POSITIONS, new_positions, "_divided"),
    ],
)
async def test_what_another_session_writes_meanwhile_is_found(
    book: Database, monkeypatch: pytest.MonkeyPatch, kind: Kind, module: ModuleType, looked: str
) -> None:
    """Between the look for stored rows and the COPY."""
    await load(book, "instruments", changed("instruments"))
    cell = "price" if kind is Kind.PRICES else "cost_basis"
    look = getattr(module, looked)

    async def late(*given: Any) -> Any:
        found = await look(*given)
        monkeypatch.setattr(module, looked, look)
        await load(book, kind, changed(kind, security_id="C", **{cell: "77"}))
        return found

    monkeypatch.setattr(module, looked, late)
    loaded = await load(book, kind, changed(kind, security_id="C", **{cell: "78"}))
    assert (loaded.inserted, loaded.changed) == (0, 1)
    table = TABLES[kind]
    assert await fetch(book, f"SELECT count(*) FROM {table} WHERE {cell} = 78") == [(1,)]


@pytest.mark.usefixtures("small_batches")
async def test_a_file_that_cannot_be_read_to_its_end_is_not_loaded(
    book: Database, tmp_path: Path
) -> None:
    before = await fetch(book, "SELECT count(*) FROM market_prices")
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([HEADER, *rows_of_prices(100, "5.5"), "A,2,3,4,5,6,7"]))
    with pytest.raises(
        InvalidInputError, match=r"prices\.csv cannot be read\n  line 102: 7 values"
    ):
        await load(book, "prices", path)
    assert await fetch(book, "SELECT count(*) FROM market_prices") == before


async def test_numbers_are_taken_as_they_are_printed(book: Database, tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    floats = [0.1, 1e-05, 123456.789, 2e-10]
    pl.DataFrame(
        {"price_date": [date(2025, 1, n) for n in range(1, 5)], "price": floats}
    ).with_columns(
        security_id=pl.lit("A"), currency=pl.lit("USD"), quote_basis=pl.lit("PER_UNIT")
    ).write_parquet(path)
    await load(book, "prices", path)
    stored = [
        row[0]
        for row in await fetch(
            book,
            "SELECT price FROM market_prices WHERE price_date >= '2025-01-01' ORDER BY price_date",
        )
    ]
    assert stored == [
        Decimal("0.1"),
        Decimal("0.00001"),
        Decimal("123456.789"),
        Decimal("0.0000000002"),
    ]


@pytest.mark.parametrize(
    ("ticks", "kind", "shown"),
    [
        (2**31 - 1, pa.date32(), "2,147,483,647 days after 1970-01-01"),
        (-(2**31), pa.date32(), "-2,147,483,648 days after 1970-01-01"),
        (2**62, pa.timestamp("us"), "53,375,995 days after 1970-01-01"),
        (2**62, pa.timestamp("ms"), "53,375,995,583 days after 1970-01-01"),
        (-(2**62), pa.timestamp("ns"), "1823-11-12 00:06:21.572612"),
        (2_932_896, pa.date32(), "9999-12-31"),
    ],
)
async def test_a_date_beyond_the_calendar_is_a_row_at_fault(
    book: Database, tmp_path: Path, ticks: int, kind: pa.DataType, shown: str
) -> None:
    path = tmp_path / "prices.parquet"
    good = pl.DataFrame({**GOOD["prices"], "price_date": [date(2024, 2, 1)]}).to_arrow()
    storage = pa.int32() if kind == pa.date32() else pa.int64()
    midnight = 19_754 if kind == pa.date32() else 0
    days = pa.array([midnight, ticks], storage).cast(kind)
    two = pa.concat_tables([good, good]).set_column(1, "price_date", days)
    pq.write_table(two, path)
    with pytest.raises(RejectedInputError) as refused:
        await load(book, "prices", path)
    [problem] = [each for each in refused.value.problems if each.kind == "date_out_of_range"]
    assert (2, shown) in problem.rows


async def test_an_id_of_200_characters_is_loaded(book: Database) -> None:
    for kind, column in (("business_dates", "calendar_id"), ("instruments", "security_id")):
        await load(book, kind, changed(kind, **{column: "Ä" * 200}))
    names = {"portfolio_id": "Ä" * 200, "calendar_id": "Ä" * 200}
    await load(book, "portfolios", changed("portfolios", **names))
    held_names = {"portfolio_id": "Ä" * 200, "security_id": "Ä" * 200}
    loaded = await load(book, "positions", changed("positions", **held_names))
    assert loaded.inserted == 1


@pytest.mark.parametrize("name", ["missing.csv", "wrong.txt", "broken.parquet"])
async def test_a_file_that_cannot_be_read_is_said_so(
    book: Database, tmp_path: Path, name: str
) -> None:
    (tmp_path / "wrong.txt").write_text("x")
    (tmp_path / "broken.parquet").write_text("x")
    with pytest.raises(InvalidInputError, match=name):
        await load(book, "prices", tmp_path / name)


# Positions

Facts = dict[int, int]
LAST = 14


def day(number: int) -> date:
    return date(2024, 1, 1) + timedelta(days=number)


def held(history: Facts, at: int) -> int | None:
    known = [quantity for when, quantity in sorted(history.items()) if when <= at]
    return known[-1] if known else None


def held_and_open(history: Facts, at: int) -> tuple[int, bool]:
    return held(history, at) or 0, is_open(history, at)


def is_open(history: Facts, at: int) -> bool:
    earlier = [quantity for when, quantity in sorted(history.items()) if when < at]
    return bool(held(history, at)) or (history.get(at) == 0 and bool(earlier) and earlier[-1] != 0)


loaded_records = st.dictionaries(
    st.integers(0, LAST), st.sampled_from([0, 0, 3, 5]), min_size=1, max_size=4
)


@pytest.mark.slow
@settings(max_examples=examples(20))
@given(
    st.lists(
        st.tuples(loaded_records, st.booleans(), st.one_of(st.none(), st.integers(0, LAST))),
        min_size=1,
        max_size=5,
    )
)
async def test_histories_open_dates_and_what_is_due_follow_every_load(
    server_url: str, template: str, loads: list[tuple[Facts, bool, int | None]]
) -> None:
    url = await fresh_database(
        server_url, await book_template(server_url, template, 1, valued=False)
    )
    try:
        async with await Database.open(url) as database:
            await execute(
                database, "SET revalue.loading_positions = on; DELETE FROM position_history"
            )
            await execute(
                database, "UPDATE position_state SET open_dates = '{}', published_open_dates = '{}'"
            )
            history: Facts = {}
            frontier: int | None = None
            for given_records, replace, moved in loads:
                if moved is not None and (frontier is None or moved > frontier):
                    frontier = moved
                    await execute(
                        database,
                        "UPDATE position_state SET frontier_date = $1 WHERE security_id = 'A'",
                        day(frontier),
                    )
                earliest = min(given_records)
                kept = {
                    d: q
                    for d, q in history.items()
                    if d < earliest or (not replace and d not in given_records)
                }
                becomes = {**kept, **given_records}
                before = await state_of(database, "P1", "A")
                result = await load(
                    database,
                    "positions",
                    facts("P1", "A", {day(d): str(q) for d, q in given_records.items()}),
                    replace=replace,
                )
                after = await state_of(database, "P1", "A")
                differing = [
                    d
                    for d in range(LAST + 1)
                    if held_and_open(history, d) != held_and_open(becomes, d)
                ]
                corrected = bool(differing) and frontier is not None and differing[0] <= frontier
                assert (result.positions_corrected, result.positions_extended) == (
                    int(corrected),
                    int(bool(differing) and not corrected),
                )
                assert after["epoch"] - before["epoch"] == int(corrected)
                if not differing:
                    assert after == before
                await check_position(database, becomes, history, corrected, frontier, before, after)
                history = becomes
    finally:
        await drop_database(server_url, url)


def inside(spans, number: int) -> bool:  # type: ignore[no-untyped-def]
    at = day(number)
    return any(
        (span.lower is None or span.lower <= at) and (span.upper is None or at < span.upper)
        for span in spans
    )


async def check_position(database, becomes, history, corrected, frontier, before, after) -> None:
    stored = await fetch(
        database,
        """SELECT position_date, quantity FROM position_history
           WHERE position_id = $1 AND valid_to_epoch IS NULL""",
        after["position_id"],
    )
    assert {when: int(quantity) for when, quantity in stored} == {
        day(d): q for d, q in becomes.items()
    }
    days = range(LAST + 3)
    assert [inside(after["open_dates"], d) for d in days] == [is_open(becomes, d) for d in days]
    if not corrected:
        assert after["pending"] == before["pending"]
        return
    for d in days:
        differs = held_and_open(history, d) != held_and_open(becomes, d)
        due = inside(before["pending"], d) or (d <= frontier and differs)
        assert inside(after["pending"], d) == (due and is_open(becomes, d)), f"day {d}"


async def test_the_days_of_a_load_are_dates() -> None:
    assert DAYS[0] == day(0)
    assert prices("A", {day(0): "1"})["price_date"][0] == day(0)


# Rules that need a look at the problems themselves


@pytest.mark.parametrize(
    ("kind", "cells", "column", "problem"),
    [
        ("prices", {"security_id": ""}, "security_id", ProblemKind.EMPTY),
        ("prices", {"price": None}, "price", ProblemKind.EMPTY),
        ("prices", {"price_date": None}, "price_date", ProblemKind.EMPTY),
        ("prices", {"security_id": "A "}, "security_id", ProblemKind.BLANKS),
        ("prices", {"security_id": "A\x00"}, "security_id", ProblemKind.CONTROL_CHARACTER),
        ("instruments", {"security_id": ".."}, "security_id", ProblemKind.DOTS),
        ("portfolios", {"portfolio_id": "."}, "portfolio_id", ProblemKind.DOTS),
        ("instruments", {"security_id": "Ä" * 201}, "security_id", ProblemKind.TOO_LONG),
        ("portfolios", {"portfolio_id": "P" * 9_000}, "portfolio_id", ProblemKind.TOO_LONG),
        ("business_dates", {"calendar_id": "C" * 201}, "calendar_id", ProblemKind.TOO_LONG),
        ("prices", {"security_id": 7}, "security_id", ProblemKind.WRONG_TYPE),
        (
            "prices",
            {"price_date": datetime(2024, 2, 1, tzinfo=UTC)},
            "price_date",
            ProblemKind.WRONG_TYPE,
        ),
        ("prices", {"price_date": date(2201, 1, 1)}, "price_date", ProblemKind.DATE_OUT_OF_RANGE),
        ("prices", {"price_date": "1899-12-31"}, "price_date", ProblemKind.DATE_OUT_OF_RANGE),
        ("prices", {"price_date": "2024-2-1"}, "price_date", ProblemKind.NOT_A_DATE),
        ("prices", {"price": float("-inf")}, "price", ProblemKind.NOT_A_NUMBER),
        ("prices", {"price": "١٢"}, "price", ProblemKind.NOT_A_NUMBER),
        ("prices", {"price": "5."}, "price", ProblemKind.NOT_A_NUMBER),
        ("prices", {"price": "."}, "price", ProblemKind.NOT_A_NUMBER),
        ("prices", {"price": 1e-11}, "price", ProblemKind.TOO_MANY_PLACES),
        ("prices", {"price": Decimal("1.12345678901")}, "price", ProblemKind.TOO_MANY_PLACES),
        ("prices", {"price": 1e18}, "price", ProblemKind.TOO_LARGE),
        ("fx_rates", {"rate": "10000000000"}, "rate", ProblemKind.TOO_LARGE),
        ("fx_rates", {"rate": "0.1234567890123456789"}, "rate", ProblemKind.TOO_MANY_PLACES),
        ("fx_rates", {"base_currency": "ZZZ"}, "base_currency", ProblemKind.UNKNOWN_REFERENCE),
        ("fx_rates", {"base_currency": "ILA"}, "base_currency", ProblemKind.MINOR_CURRENCY),
        ("instruments", {"currency": "GBX"}, "currency", ProblemKind.MINOR_CURRENCY),
        (
            "instruments",
            {"contract_multiplier": "0.0000001"},
            "contract_multiplier",
            ProblemKind.TOO_MANY_PLACES,
        ),
        (
            "instruments",
            {"max_price_age_sessions": "2.5"},
            "max_price_age_sessions",
            ProblemKind.NOT_A_NUMBER,
        ),
        (
            "instruments",
            {"max_price_age_sessions": 2**40},
            "max_price_age_sessions",
            ProblemKind.NOT_A_NUMBER,
        ),
        ("positions", {"security_id": "Z"}, "security_id", ProblemKind.UNKNOWN_REFERENCE),
        ("business_dates", {"calendar_id": None}, "calendar_id", ProblemKind.EMPTY),
    ],
)
async def test_a_broken_rule_is_one_problem_of_its_kind(
    book: Database, kind: str, cells: dict[str, object], column: str, problem: ProblemKind
) -> None:
    with pytest.raises(RejectedInputError) as refused:
        await load(book, kind, changed(kind, **cells))
    assert [(p.kind, p.column, p.count) for p in refused.value.problems] == [(problem, column, 1)]


async def test_five_rows_are_shown_and_all_are_counted(book: Database) -> None:
    many = pl.concat([changed("prices", price_date=day(n), price="0") for n in range(9)])
    with pytest.raises(RejectedInputError, match="not positive: 9 rows") as refused:
        await load(book, "prices", many)
    assert [row for row, _ in refused.value.problems[0].rows] == [1, 2, 3, 4, 5]


async def test_a_categorical_id_without_text_is_missing(book: Database) -> None:
    with pytest.raises(RejectedInputError, match="security_id: missing value"):
        await load(
            book, "prices", changed("prices", security_id="").cast({"security_id": pl.Categorical})
        )


async def test_rows_are_counted_where_line_numbers_would_be_wrong(
    book: Database, tmp_path: Path
) -> None:
    path = tmp_path / "prices.csv"
    header, bad = (
        "security_id,price_date,price,currency,quote_basis\n",
        "A,2024-03-01,x,USD,PER_UNIT\n",
    )
    for text, unit in (
        (header + bad, "line 2: x"),
        ("\n" + header + bad, "row 1: x"),
        (header + '"A\nB",,,,\n' + bad, "row 2: x"),
    ):
        path.write_text(text)
        with pytest.raises(RejectedInputError) as refused:
            await load(book, "prices", path)
        assert f"price: not a number such as 1070.5: 1 row ({unit})" in str(refused.value)


@pytest.mark.parametrize(
    "frame",
    [
        lambda: changed("prices", price=1.5, price_date=datetime(2024, 2, 1)).cast(
            {"security_id": pl.Categorical}
        ),
        lambda: changed("prices", price=Decimal("1.500"), price_date=date(2024, 2, 1)),
        lambda: pa.table(
            {**GOOD["prices"], "price": pa.array([Decimal("1.5")], pa.decimal256(50, 12))}
        ),
        lambda: pa.table(
            {
                **GOOD["prices"],
                "security_id": pa.array(["A"]).dictionary_encode(),
                "price": ["+01.50"],
            }
        ),
        lambda: changed("prices", price="15e-1"),
        lambda: changed("prices", price="+.15E+01"),
        lambda: changed("prices", price=".15e1"),
    ],
)
async def test_every_type_that_can_hold_the_value_is_read_exactly(
    book: Database, frame: Callable[[], pl.DataFrame | pa.Table]
) -> None:
    assert (await load(book, "prices", frame())).inserted == 1
    assert await fetch(book, "SELECT price FROM market_prices WHERE price_date = '2024-02-01'") == [
        (Decimal("1.5"),)
    ]


async def test_an_optional_column_may_be_empty_and_an_input_may_have_no_rows(
    book: Database,
) -> None:
    assert (
        await load(book, "instruments", changed("instruments", contract_multiplier=None))
    ).inserted == 1
    for kind in Kind:
        assert (await load(book, kind, pl.DataFrame(GOOD[kind]).clear())).rows == 0


async def test_a_file_without_rows_is_refused_unless_that_is_said_to_be_right(
    book: Database, tmp_path: Path
) -> None:
    empty = pl.DataFrame(GOOD["prices"]).clear()
    empty.write_csv(tmp_path / "prices.csv")
    empty.write_parquet(tmp_path / "prices.parquet")
    for name in ("prices.csv", "prices.parquet"):
        path = tmp_path / name
        with pytest.raises(InvalidInputError, match=f"{name} names its columns and has no rows"):
            await load(book, "prices", path)
        assert (await load(book, "prices", path, allow_empty=True)).rows == 0
    (tmp_path / "prices.csv").write_text("security_id,price\n")
    with pytest.raises(RejectedInputError, match="price_date: missing column"):
        await load(book, "prices", tmp_path / "prices.csv")


async def test_an_unknown_kind_is_a_usage_error(book: Database) -> None:
    with pytest.raises(UsageError, match=r"'bonds'.*positions"):
        await load(book, "bonds", pl.DataFrame())


async def test_a_changed_price_leaves_a_trigger_of_exactly_its_reach(book: Database) -> None:
    await execute(book, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    await load(
        book, "prices", prices("A", {DAYS[0]: "100.25", DAYS[3]: "9", DAYS[4]: "9", DAYS[9]: "9"})
    )
    assert await fetch(
        book,
        """SELECT kind, security_id, dates::text FROM reprocessing_triggers
           WHERE fanned_out_at IS NULL""",
    ) == [("PRICE", "A", f"{{[{DAYS[3]},{DAYS[5]}),[{DAYS[9]},{DAYS[10]})}}")]


async def test_a_change_that_the_database_refuses_rolls_everything_back(
    book: Database, connection: asyncpg.Connection
) -> None:
    both = pl.DataFrame(
        {
            "portfolio_id": ["P0", "P1"],
            "base_currency": ["CHF", "CHF"],
            "calendar_id": ["CAL", "CAL"],
        }
    )
    with pytest.raises(CorrectionRefusedError, match="P1 cannot change"):
        await load(book, "portfolios", both)
    assert (
        await connection.fetchval("SELECT count(*) FROM portfolios WHERE base_currency = 'CHF'")
        == 0
    )


# The load of one position against a plain model, exactly

FACT_DAYS, END = 12, 16  # the last day of the window stands for all days after it
Values = tuple[int, int, int]
Model = dict[int, Values]


def open_days(model: Model) -> set[int]:
    found, quantity = set(), 0
    for d in range(END):
        before = quantity
        quantity = model[d][0] if d in model else quantity
        if quantity or (d in model and before):
            found.add(d)
    return found


def after_load(model: Model, given_records: Model, replace: bool) -> Model:
    first = min(given_records)
    return {d: v for d, v in model.items() if d < first or not replace} | given_records


def in_force(model: Model) -> list[Values]:
    """The values of each day; before the first record nothing is held."""
    found = [(0, 0, 0)]
    for d in range(END):
        found.append(model.get(d, found[-1]))
    return found[1:]


def affected_days(was: Model, becomes: Model) -> set[int]:
    pairs = zip(in_force(was), in_force(becomes), strict=True)
    return {d for d, (old, new) in enumerate(pairs) if old != new} | (
        open_days(becomes) - open_days(was)
    )


def days_of(spans) -> set[int]:  # type: ignore[no-untyped-def]
    return {d for d in range(END) if inside(spans, d)}


RECORDS = """
    SELECT position_date, quantity, cost_basis_local, cost_basis FROM position_history
    WHERE position_id = $1 AND valid_from_epoch <= $2
      AND (valid_to_epoch IS NULL OR valid_to_epoch > $2)
"""
"""The history of a position under an epoch."""


def frame_of(security: str, model: Model) -> pl.DataFrame:
    rows = [
        ("P1", security, day(d), *(str(value) for value in values)) for d, values in model.items()
    ]
    return pl.DataFrame(rows, schema=list(GOOD["positions"]), orient="row")


async def check_load(
    book: Database,
    was: dict[str, Model],
    given_records: dict[str, Model],
    frontier: int | None,
    replace: bool,
) -> dict[str, Model]:
    """Load records of several positions; compare all that a load may write with the model."""
    at = day(frontier) if frontier is not None else None
    held_back = (
        "pending = pending * datemultirange(daterange(NULL, $1, '(]'))" if at else "pending = '{}'"
    )
    await execute(book, f"UPDATE position_state SET frontier_date = $1::date, {held_back}", at)
    before = {s: await state_of(book, "P1", s) for s in was}
    newest = (await fetch(book, "SELECT COALESCE(max(trigger_id), 0) FROM reprocessing_triggers"))[
        0
    ][0]
    result = await load(
        book,
        "positions",
        pl.concat([frame_of(s, m) for s, m in given_records.items()]),
        replace=replace,
    )
    reached: set[int] = set()
    corrected = extended = 0
    becomes = {
        s: after_load(m, given_records[s], replace) if s in given_records else m
        for s, m in was.items()
    }
    gone = [
        (s, day(d), *m[d]) for s, m in sorted(was.items()) for d in sorted(m) if d not in becomes[s]
    ]
    assert [tuple(vars(record).values())[1:] for record in result.removed_records] == gone
    assert result.removed == len(gone)
    for s, new in becomes.items():
        state, old = await state_of(book, "P1", s), before[s]
        stored = await fetch(
            book,
            RECORDS,
            state["position_id"],
            state["epoch"],
        )
        assert {row[0]: tuple(map(int, row[1:])) for row in stored} == {
            day(d): v for d, v in new.items()
        }
        assert days_of(state["open_dates"]) == open_days(new)
        reach = affected_days(was[s], new)
        if not reach:
            assert state == old
            continue
        if frontier is None or min(reach) > frontier:
            extended += 1
            is_published = old["published_epoch"] == old["epoch"]
            shown = state["open_dates"] if is_published else old["published_open_dates"]
            moved = {
                "revision": old["revision"] + 1,
                "open_dates": state["open_dates"],
                "published_open_dates": shown,
            }
            assert state == old | moved
            continue
        corrected += 1
        reached |= reach
        assert (state["epoch"], state["history_epoch"], state["revision"]) == (
            old["epoch"] + 1,
            old["epoch"] + 1,
            old["revision"] + 1,
        )
        assert state["published_open_dates"] == old["published_open_dates"]
        due = days_of(old["pending"]) | {d for d in reach if d <= frontier}
        assert days_of(state["pending"]) == due & open_days(new)
        audit = await fetch(book, RECORDS, state["position_id"], old["epoch"])
        assert {row[0]: tuple(map(int, row[1:])) for row in audit} == {
            day(d): v for d, v in was[s].items()
        }
    assert (result.positions_corrected, result.positions_extended) == (corrected, extended)
    left = await fetch(
        book,
        """SELECT kind, dates, positions_invalidated, fanned_out_at IS NOT NULL
           FROM reprocessing_triggers WHERE trigger_id > $1""",
        newest,
    )
    assert [(kind, days_of(dates), positions, done) for kind, dates, positions, done in left] == (
        [("POSITION", reached, corrected, True)] if corrected else []
    )
    return becomes


HELD, MORE, GONE = (5, 50, 45), (8, 80, 70), (0, 0, 0)


@pytest.mark.parametrize(
    ("was", "given_records", "frontier", "replace"),
    [
        pytest.param({}, {2: HELD}, None, False, id="new"),
        pytest.param({}, {2: GONE, 4: GONE, 6: HELD}, None, False, id="records of 0 first"),
        pytest.param({2: HELD}, {6: MORE}, 5, False, id="extension"),
        pytest.param({2: HELD}, {6: MORE}, 6, False, id="correction on the frontier itself"),
        pytest.param(
            {2: HELD, 6: MORE}, {4: MORE}, 9, True, id="replaced: the later record is gone"
        ),
        pytest.param({2: HELD, 6: HELD}, {4: MORE}, 9, False, id="the later record stays"),
        pytest.param({2: HELD, 6: MORE}, {2: HELD, 6: MORE}, 9, False, id="nothing new"),
        pytest.param({2: HELD, 6: MORE}, {2: HELD}, 9, False, id="nothing new, and a later record"),
        pytest.param(
            {2: HELD, 6: MORE}, {2: HELD}, 9, True, id="the same record, and the later one is gone"
        ),
        pytest.param({2: HELD}, {6: GONE}, 9, False, id="closed"),
        pytest.param({2: HELD, 4: GONE}, {7: MORE}, 9, False, id="opened again"),
        pytest.param(
            {2: HELD, 7: GONE}, {4: GONE}, 9, False, id="closed earlier: no closing date twice"
        ),
        pytest.param({4: GONE}, {2: HELD}, 9, False, id="a record of 0 becomes a closing date"),
        pytest.param({2: HELD}, {2: GONE}, 9, False, id="never open"),
        pytest.param({2: HELD}, {0: MORE}, 9, False, id="earlier than all known"),
        pytest.param({2: HELD}, {2: (5, 50, 46)}, 9, False, id="only a cost basis differs"),
        pytest.param({2: HELD}, {6: HELD}, 9, False, id="the record in force again"),
        pytest.param({2: HELD}, {6: HELD}, 4, False, id="the same, after the frontier"),
        pytest.param({2: HELD, 6: HELD}, {2: HELD}, 9, True, id="a repeating record is gone"),
        pytest.param({2: HELD, 6: HELD}, {4: MORE}, 9, True, id="corrected from between on"),
        pytest.param({2: HELD, 4: GONE}, {6: GONE}, 9, False, id="closed again"),
        pytest.param({2: HELD, 4: GONE, 6: GONE}, {4: HELD}, 9, False, id="closed later"),
        pytest.param({4: HELD}, {2: GONE}, 9, False, id="a record of 0 before the first one"),
        pytest.param({}, {2: GONE}, None, False, id="new and never open"),
    ],
)
async def test_a_position_load_writes_what_the_model_says(
    book: Database, was: Model, given_records: Model, frontier: int | None, replace: bool
) -> None:
    await load(book, "instruments", changed("instruments"))
    await load(book, "positions", frame_of("C", was or given_records))
    if not was:  # the first load is the one in question
        state = await state_of(book, "P1", "C")
        assert (state["epoch"], state["revision"], days_of(state["open_dates"])) == (
            0,
            int(bool(open_days(given_records))),
            open_days(given_records),
        )
        assert state["published_open_dates"] == state["open_dates"]
        return
    await check_load(book, {"C": was}, {"C": given_records}, frontier, replace)


histories = st.dictionaries(
    st.integers(0, FACT_DAYS - 1),
    st.sampled_from([HELD, (5, 51, 45), MORE, GONE, GONE]),
    min_size=1,
    max_size=4,
)
steps = st.tuples(
    st.dictionaries(st.sampled_from("AB"), histories, min_size=1),
    st.one_of(st.none(), st.integers(0, END - 2)),
    st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=examples(30))
@given(st.lists(steps, min_size=1, max_size=6))
async def test_any_sequence_of_loads_of_two_positions_follows_the_model(
    server_url: str, template: str, sequence: list[tuple[dict[str, Model], int | None, bool]]
) -> None:
    url = await fresh_database(
        server_url, await book_template(server_url, template, 1, valued=False)
    )
    try:
        async with await Database.open(url) as opened:
            model: dict[str, Model] = {s: {0: (10, 1000, 1000)} for s in "AB"}
            await load(
                opened,
                "positions",
                pl.concat([frame_of(s, m) for s, m in model.items()]),
                replace=True,
            )
            for given_records, frontier, replace in sequence:
                model = await check_load(opened, model, given_records, frontier, replace)
    finally:
        await drop_database(server_url, url)
