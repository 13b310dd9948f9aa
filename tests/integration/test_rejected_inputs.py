"""A file that breaks a rule is refused as a whole; all that is wrong is said, with its rows."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from revalue.engine.correct.inputs.problems import ProblemKind, RejectedInputError
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import InvalidInputError, UsageError
from revalue.engine.postgres.database import Database
from tests.integration.loading import GOOD, HEADER, TABLES, changed, day, rows_of_prices
from tests.support import fetch


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


async def test_five_rows_are_shown_and_all_are_counted(book: Database) -> None:
    many = pl.concat([changed("prices", price_date=day(n), price="0") for n in range(9)])
    with pytest.raises(RejectedInputError, match="not positive: 9 rows") as refused:
        await load(book, "prices", many)
    assert [row for row, _ in refused.value.problems[0].rows] == [1, 2, 3, 4, 5]


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


async def test_a_categorical_id_without_text_is_missing(book: Database) -> None:
    with pytest.raises(RejectedInputError, match="security_id: missing value"):
        await load(
            book, "prices", changed("prices", security_id="").cast({"security_id": pl.Categorical})
        )


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


@pytest.mark.parametrize("name", ["missing.csv", "wrong.txt", "broken.parquet"])
async def test_a_file_that_cannot_be_read_is_said_so(
    book: Database, tmp_path: Path, name: str
) -> None:
    (tmp_path / "wrong.txt").write_text("x")
    (tmp_path / "broken.parquet").write_text("x")
    with pytest.raises(InvalidInputError, match=name):
        await load(book, "prices", tmp_path / name)


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
