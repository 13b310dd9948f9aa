"""Reports of many portfolios: they say what the pages of each portfolio say, with nothing left out.

The book has two calendars, holes, a line at an old price, one that is not valued yet, one that is
being reprocessed, and corrections.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from revalue.engine.book import connect
from revalue.engine.changes import Position, Price
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import DataFaultError, NotFoundError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.read import excel, report
from revalue.engine.read.files import csv_writer, write_file
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.read.report import REPORT_COLUMNS, Wanted, total_columns
from tests.conftest import book_template, drop_database, fresh_database
from tests.integration.test_cli import run
from tests.support import DAYS, engine, execute, facts, fetch, open_days, prices

LATE = [day for day in DAYS if day != DAYS[7]]
"""The business days of the other calendar: one fewer, and opened through an earlier one."""


@pytest.fixture(scope="module")
async def book(server_url: str, template: str) -> AsyncIterator[str]:
    url = await fresh_database(server_url, await book_template(server_url, template, 2))
    async with await Database.open(url) as database:
        await open_days(database, LATE[:-2], "OTHER")
        await load(
            database,
            Kind.PORTFOLIOS,
            pl.DataFrame(
                {"portfolio_id": ["P9"], "base_currency": ["EUR"], "calendar_id": ["OTHER"]}
            ),
        )
        await load(
            database,
            Kind.INSTRUMENTS,
            pl.DataFrame(
                {"security_id": ["C"], "currency": ["USD"], "max_price_age_sessions": [1]}
            ),
        )
        # C has no price before the third day, and later an old one, and then one that is too old.
        await load(database, Kind.PRICES, prices("C", {DAYS[2]: "10", DAYS[6]: "11.5"}))
        for portfolio in ("P1", "P9"):
            await load(database, Kind.POSITIONS, facts(portfolio, "C", {DAYS[0]: "3"}))
        await load(database, Kind.POSITIONS, facts("P9", "A", {DAYS[1]: "4", DAYS[5]: "0"}, "0"))
        async with engine(url) as running:
            await running.settle()
            await corrections.price(database, "A", DAYS[3], Decimal("90.5"))
            await running.settle()
            # D was valued, and has no price any more: its old numbers are shown no longer.
            await load(
                database,
                Kind.INSTRUMENTS,
                pl.DataFrame(
                    {"security_id": ["D"], "currency": ["USD"], "max_price_age_sessions": [30]}
                ),
            )
            await load(database, Kind.PRICES, prices("D", {DAYS[0]: "7"}))
            await load(database, Kind.POSITIONS, facts("P2", "D", {DAYS[0]: "5"}))
            await running.settle()
            await execute(database, "DELETE FROM market_prices WHERE security_id = 'D'")
            await running.settle()
        await load(database, Kind.POSITIONS, facts("P2", "C", {DAYS[4]: "6"}))  # not valued yet
        await corrections.price(database, "B", DAYS[4], Decimal("48"))  # not fanned out yet
    yield url
    await drop_database(server_url, url)


@pytest.fixture
async def database(book: str) -> AsyncIterator[Database]:
    async with await Database.open(book) as opened:
        yield opened


async def read(database: Database, wanted: Wanted) -> pl.DataFrame:
    return pl.concat([frame async for frame in report.positions(database, wanted)])


async def pages(database: Database, day: date, known_at: Any = None) -> list[dict[str, Any]]:
    """Return the lines of each portfolio on its last business date, as the API reads them."""
    rows = []
    for portfolio in ("P1", "P2", "P9"):
        _, lines = await ReaderQueries(database).positions(portfolio, day, known_at=known_at)
        rows += [{"portfolio_id": portfolio, **line} for line in lines]
    return rows


COMPARED = [name for name in REPORT_COLUMNS if name not in ("price_effect", "fx_effect")]


@pytest.mark.parametrize("is_past", [False, True])
async def test_the_report_of_a_date_is_what_the_page_of_each_portfolio_says(
    database: Database, is_past: bool
) -> None:
    [(known_at,)] = await fetch(
        database, "SELECT at FROM moments ORDER BY at DESC OFFSET 3 LIMIT 1"
    )
    statuses: set[str] = set()
    for day in (*DAYS, DAYS[-1] + timedelta(days=40)):
        at = known_at if is_past else None
        rows = await read(database, Wanted(day, known_at=at))
        statuses |= set(rows["valuation_status"]) | set(rows["reprocessing_status"])
        want = await pages(database, day, at)
        assert rows.select(COMPARED).rows() == [
            tuple(line[name] for name in COMPARED) for line in want
        ]
        valued = rows.filter(pl.col("epoch").is_not_null())
        assert (valued["price_effect"] + valued["fx_effect"] == valued["unrealized_gain"]).all()
    if not is_past:
        assert statuses == {
            "VALUED_CURRENT",
            "VALUED_STALE",
            "WAITING_FOR_DATA",
            "NOT_VALUED",
            "CURRENT",
            "IN_PROGRESS",
        }


async def test_the_effects_are_those_of_the_view(database: Database) -> None:
    rows = await read(database, Wanted(DAYS[5], first_date=DAYS[5]))
    want = await fetch(
        database,
        "SELECT portfolio_id, security_id, price_effect, fx_effect FROM position_valuations "
        "WHERE date = $1 ORDER BY 1, 2",
        DAYS[5],
    )
    found = rows.filter(pl.col("epoch").is_not_null())
    assert found.select("portfolio_id", "security_id", "price_effect", "fx_effect").rows() == want
    assert len(want) > 4


async def test_a_range_is_its_dates_one_after_another(database: Database) -> None:
    rows = await read(database, Wanted(DAYS[8], first_date=DAYS[5]))
    each = [await read(database, Wanted(day, first_date=day)) for day in DAYS[5:9]]
    assert rows.equals(pl.concat(each))
    assert set(rows["date"]) == set(DAYS[5:9])
    # On this day the other calendar has no business.
    assert "P9" not in set(each[2]["portfolio_id"])
    assert "P9" in set((await read(database, Wanted(DAYS[7])))["portfolio_id"])


async def test_only_what_is_asked_for(database: Database) -> None:
    rows = await read(database, Wanted(DAYS[5]))
    for portfolios, securities in (
        (("P1",), None),
        (("P1", "P9"), None),
        (None, ("C",)),
        (("P1", "P9"), ("A", "C")),
    ):
        want = rows.filter(
            pl.lit(portfolios is None) | pl.col("portfolio_id").is_in(list(portfolios or ())),
            pl.lit(securities is None) | pl.col("security_id").is_in(list(securities or ())),
        )
        found = await read(database, Wanted(DAYS[5], portfolios=portfolios, securities=securities))
        assert found.equals(want)
        assert 0 < len(found) < len(rows)


async def test_totals_are_those_of_the_page_of_each_portfolio(database: Database) -> None:
    wanted = Wanted(DAYS[9], first_date=DAYS[0])
    found = pl.concat([frame async for frame in report.totals(database, wanted)])
    assert dict(found.schema) == dict(pl.DataFrame(schema=dict(total_columns("portfolio"))).schema)
    names = ["market_value", "unrealized_gain", *(n for n in found.columns if "lines" in n)]
    for portfolio in ("P1", "P2", "P9"):
        _, want = await ReaderQueries(database).totals(portfolio, DAYS[0], DAYS[9])
        assert found.filter(portfolio_id=portfolio).select("date", *names).rows() == [
            tuple(row[name] for name in ("date", *names)) for row in want if row["lines"]
        ]
    assert found["lines_waiting"].sum() > 2
    assert found["lines_missing"].sum() > 2
    by_currency = pl.concat(
        [frame async for frame in report.totals(database, wanted, by="currency")]
    )
    sums = found.group_by("base_currency", "date").agg(
        pl.col("market_value", "unrealized_gain", "^lines.*$").sum()
    )
    assert (
        by_currency.select(sums.columns)
        .sort("base_currency", "date")
        .equals(
            sums.sort("base_currency", "date").cast(dict(by_currency.select(sums.columns).schema))
        )
    )


async def test_a_sum_of_no_value_is_no_number(database: Database) -> None:
    """C alone, on a day without a price: a market value of 0 would be wrong."""
    wanted = Wanted(DAYS[0], first_date=DAYS[0], securities=("C",))
    [found] = [frame async for frame in report.totals(database, wanted)]
    assert found["market_value"].to_list() == [None] * len(found)
    assert found["lines_waiting"].sum() == len(found) == 2


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
async def test_a_file_has_every_digit(database: Database, tmp_path: Path, ending: str) -> None:
    wanted = Wanted(DAYS[9], first_date=DAYS[0])
    target = tmp_path / f"report.{ending}"
    target.write_text("an older one")
    written = await write_file(target, REPORT_COLUMNS, report.positions(database, wanted))
    match ending:
        case "csv":
            found = pl.read_csv(target, schema=dict(REPORT_COLUMNS))
        case "parquet":
            found = pl.read_parquet(target)
        case _:
            found = pl.read_ipc(target)
    assert found.equals(await read(database, wanted))
    assert dict(found.schema) == dict(pl.DataFrame(schema=dict(REPORT_COLUMNS)).schema)
    assert written == len(found)
    assert os.listdir(tmp_path) == [target.name]


async def test_a_workbook_has_numbers_dates_and_text(database: Database, tmp_path: Path) -> None:
    """Of numbers the 15 digits that Excel keeps."""
    wanted = Wanted(DAYS[9], first_date=DAYS[0])
    target = tmp_path / "report.xlsx"
    written = await write_file(target, REPORT_COLUMNS, report.positions(database, wanted))
    expected = await read(database, wanted)
    decimals = [name for name, kind in expected.schema.items() if kind.is_decimal()]
    found = pl.read_excel(target, infer_schema_length=None)
    assert (found.columns, len(found)) == (list(REPORT_COLUMNS), written)
    for name in found.columns:
        wants = expected[name].cast(pl.Float64) if name in decimals else expected[name]
        got = found[name].cast(wants.dtype)
        if name in decimals:
            error = ((got - wants).abs() / wants.abs()).fill_nan(0).max()
            assert got.is_null().equals(wants.is_null()), name
            assert error is None or error < 1e-14, name
        else:
            assert got.to_list() == wants.to_list(), name


async def test_a_text_in_a_workbook_is_no_formula(tmp_path: Path) -> None:
    async def rows() -> AsyncIterator[pl.DataFrame]:
        yield pl.DataFrame({"id": ["=1+1", "https://x"], "at": [None, date(1850, 1, 2)]})

    target = tmp_path / "ids.xlsx"
    await write_file(target, {"id": pl.String, "at": pl.Date}, rows())  # type: ignore[arg-type]
    found = pl.read_excel(target)
    assert found["id"].to_list() == ["=1+1", "https://x"]
    assert found["at"].to_list() == [None, "1850-01-02"]  # Excel has no such date


async def test_more_rows_than_a_sheet_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rows() -> AsyncIterator[pl.DataFrame]:
        for _ in range(2):
            yield pl.DataFrame({"id": ["A", "B"]})

    monkeypatch.setattr(excel, "MAX_ROWS", 3)
    with pytest.raises(UsageError, match="3 rows"):
        await write_file(tmp_path / "ids.xlsx", {"id": pl.String}, rows())  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


async def test_a_file_that_cannot_be_finished_is_not_begun(
    database: Database, tmp_path: Path
) -> None:
    async def failing() -> AsyncIterator[pl.DataFrame]:
        yield pl.DataFrame(schema=dict(REPORT_COLUMNS))
        raise DataFaultError("lost")

    target = tmp_path / "report.parquet"
    target.write_text("an older one")
    with pytest.raises(DataFaultError):
        await write_file(target, REPORT_COLUMNS, failing())
    assert (os.listdir(tmp_path), target.read_text()) == ([target.name], "an older one")
    for name, words in (
        ("report.xls", r"report\.xls: .*\.csv, \.parquet, \.arrow, \.xlsx"),
        ("no/folder/report.csv", "cannot be written: No such file"),
    ):
        with pytest.raises(UsageError, match=words):
            await write_file(tmp_path / name, REPORT_COLUMNS, failing())


async def test_what_does_not_exist_is_said(database: Database) -> None:
    for wanted, words in (
        (Wanted(DAYS[0], portfolios=("P1", "NOPE")), "no portfolio 'NOPE'"),
        (Wanted(DAYS[0], securities=("X",)), "no security 'X'"),
        (Wanted(DAYS[0] - timedelta(days=1)), "is opened"),
        (Wanted(date(2030, 1, 1), first_date=date(2029, 1, 1)), "from 2029-01-01 to 2030-01-01"),
    ):
        with pytest.raises(NotFoundError, match=words):
            await read(database, wanted)
    with pytest.raises(UsageError, match="after the last"):
        Wanted(DAYS[0], first_date=DAYS[1])


def cli(url: str, *arguments: str) -> tuple[int, str, str]:
    return run_cli(url, "read", *arguments)


async def test_the_command_writes_what_the_report_says(
    book: str, database: Database, tmp_path: Path
) -> None:
    day = str(DAYS[5])
    rows = await read(database, Wanted(DAYS[5]))
    code, text, said = cli(book, "positions", "--date", day)
    assert code == 0
    assert pl.read_csv(io.StringIO(text), schema=dict(REPORT_COLUMNS)).equals(rows)
    assert f"{len(rows)} position-days on {day}; " in said
    assert "1 not valued yet" in said
    assert "being reprocessed" in said

    code, text, _ = cli(book, "positions", "--date", day, "--portfolio", "P1", "--json")
    lines = json.loads(text)
    assert [line["security_id"] for line in lines] == ["A", "B", "C"]
    values = [line["market_value"] and Decimal(line["market_value"]) for line in lines]
    assert values == rows.filter(portfolio_id="P1")["market_value"].to_list()

    target = tmp_path / "totals.parquet"
    between = ("--from", str(DAYS[2]), "--to", day)
    code, text, said = cli(book, "totals", *between, "--by", "currency", "-o", str(target))
    assert (code, text) == (0, "")
    assert f"{target}: 8 rows; " in said
    assert f"position-days from {DAYS[2]} to {day}" in said
    wanted = Wanted(DAYS[5], first_date=DAYS[2])
    frames = report.totals(database, wanted, by="currency")
    assert pl.read_parquet(target).equals(pl.concat([frame async for frame in frames]))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("positions", "--portfolio", "NOPE"), 4, "no portfolio 'NOPE'"),
        (("positions", "--date", "2024-01-05", "--from", "2024-01-01"), 2, "not both"),
        (("totals", "--to", "2024-01-05"), 2, "--to needs --from"),
        (("totals", "-o", "x.xls"), 2, ".parquet"),
        (("totals", "-o", "x.csv", "--json"), 2, "not both"),
        (("positions", "--known-at", "2024-01-05T12:00"), 2, "has no time of day"),
        (("positions", "--known-at", "2024-01-05T12:00Z"), 4, "was opened at 2024-01-05T12:00"),
        (("positions", "--known-at", "2999-01-05T12:00Z"), 2, "in the future"),
        (("changes", "P1", "X", "2024-01-05"), 4, "never held"),
    ],
)
def test_wrong_calls_are_told(book: str, arguments: tuple[str, ...], code: int, words: str) -> None:
    found, text, said = cli(book, *arguments)
    assert found == code
    assert text == ""
    assert words in said


async def test_the_changes_of_a_number_are_told(book: str, database: Database) -> None:
    arguments = ("changes", "P1", "A", str(DAYS[3]))
    code, text, _ = cli(book, *arguments, "--json")
    _, want = await ReaderQueries(database).changes("P1", "A", DAYS[3])
    changes = json.loads(text)
    assert code == 0
    assert changes[1]["changed"] == "price 103.25 -> 90.5"
    assert [Decimal(each["market_value"]) for each in changes] == [
        each["market_value"] for each in want
    ]
    assert [each["cause"] for each in changes] == [None, "PRICE"]
    _, text, said = cli(book, *arguments)
    assert text.splitlines()[2].endswith("price 103.25 -> 90.5,postgres,")
    assert f"P1 / A on {DAYS[3]}: 2 numbers shown" in said


async def test_a_date_that_is_not_opened_yet_is_said_to_be_later(book: str) -> None:
    for command in (("read", "totals"), ("exceptions",)):
        _, _, said = run_cli(book, *command, "--date", "2030-01-01", "--portfolio", "P1")
        assert f"on {DAYS[-1]} (the last business date that is opened at or before 2030" in said


def test_a_book_reads_and_writes_the_same(book: str, tmp_path: Path) -> None:
    with connect(book) as opened:
        rows = opened.positions(DAYS[5], first_date=DAYS[4], portfolios=["P1", "P9"])
        assert set(rows["portfolio_id"]) == {"P1", "P9"}
        assert set(rows["date"]) == set(DAYS[4:6])
        totals = opened.totals(DAYS[5], portfolios=["P1"])
        sums = rows.filter(portfolio_id="P1", date=DAYS[5])
        assert totals["market_value"].to_list() == [sums["market_value"].sum()]
        target = tmp_path / "book.csv"
        assert opened.write_positions(target, portfolios=["P1"]) == len(
            opened.positions(portfolios=["P1"])
        )
        with pytest.raises(NotFoundError, match="NOPE"):
            opened.positions(portfolios=["NOPE"])


async def test_exceptions_are_of_the_date_and_the_one_before_it(
    book: str, database: Database
) -> None:
    """C has an old price on the eighth day; the other calendar has no business on it."""
    code, text, said = run_cli(book, "exceptions", "--date", str(DAYS[7]), "--json")
    assert code == 0
    listed = json.loads(text)
    rows = await read(database, Wanted(DAYS[7]))
    by_kind = {kind: [each for each in listed if each["kind"] == kind] for kind in KINDS}
    [old] = [each for each in by_kind["OLD_PRICE"] if each["base_currency"] == "USD"]
    assert (old["subject"], old["date"], old["detail"]) == (
        "C",
        str(DAYS[7]),
        f"price of {DAYS[6]}",
    )
    [c] = rows.filter(portfolio_id="P1", security_id="C")["market_value"]
    assert (Decimal(old["market_value"]), old["positions"]) == (c, 1)
    assert {each["subject"] for each in by_kind["NOT_VALUED"]} == {"P2 / C"}
    assert not by_kind["PRICE_MOVE"]
    assert f"exceptions on {DAYS[7]}: " in said
    assert "1 NOT_VALUED" in said

    # The price of C goes from 10 to 11.5, and that of A from 90.5 back to 104.25.
    code, text, _ = run_cli(
        book, "exceptions", "--date", str(DAYS[4]), "--json", "--move-percent", "14"
    )
    moves = [each for each in json.loads(text) if each["kind"] == "PRICE_MOVE"]
    assert {(each["subject"], each["detail"]) for each in moves} == {("A", "90.5 -> 104.25")}
    with connect(book) as opened:
        found = opened.exceptions(DAYS[4], move_percent=14)
    assert found["subject"].to_list() == [each["subject"] for each in json.loads(text)]


KINDS = ("NO_VALUE", "NOT_VALUED", "OLD_PRICE", "PRICE_MOVE", "VALUE_MOVE")


def run_cli(url: str, *arguments: str) -> tuple[int, str, str]:
    result = run(url, *arguments)
    code = getattr(result.exception, "exit_code", result.exit_code)
    return code, result.stdout, f"{result.stderr}{result.exception or ''}"


def test_what_python_gives_in_a_wrong_type_is_told_where_it_is_given(book: str) -> None:
    day: Any = "2024-01-05"
    price: Any = 51.35
    rows: Any = {"security_id": ["A"]}
    with connect(book) as opened:
        for call, words in (
            (lambda: opened.valuations(first_date=day), "first_date: '2024-01-05' is no"),
            (lambda: opened.positions(day), "last_date: '2024-01-05' is no datetime.date"),
            (lambda: opened.explain("P1", "A", day), "day: '2024-01-05'"),
            (lambda: opened.open(day), "day: '2024-01-05'"),
            (lambda: opened.value(through=day), "day: '2024-01-05'"),
            (lambda: Price("A", day, Decimal(1)), "date: '2024-01-05'"),
            (lambda: Price("A", datetime(2024, 1, 5, 12), Decimal(1)), "date: datetime"),
            (lambda: Price("A", DAYS[0], price), r"price: 51.35 is no decimal.Decimal"),
            (lambda: Position("P1", "A", DAYS[0], Decimal(1), Decimal(1), price), "cost_basis: "),
            (lambda: opened.load("prices", rows), "the input is a dict: give the name of a file"),
            (lambda: connect(book, runtime="dask"), "REVALUE_RUNTIME=dask"),
        ):
            with pytest.raises(UsageError, match=words):
                call()
        for named in ({"portfolio": "NOPE"}, {"security": "NOPE"}):
            with pytest.raises(NotFoundError, match="'NOPE'"):
                opened.valuations(**named)
    with pytest.raises(UsageError, match="the book is closed"):
        opened.status()


def test_a_reader_that_ends_first_ends_the_command_as_it_ends_cat(book: str) -> None:
    """polars told of a broken pipe in an error of its own, which was a traceback."""
    command = [
        sys.executable,
        "-c",
        "import os; from revalue.console.cli.start import main; main()",
        "--database-url",
        book,
        "read",
        "positions",
        "--from",
        str(DAYS[0]),
    ]
    read, write = os.pipe()
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as process:
        os.close(write)
        os.close(read)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (141, False), said


def test_a_reader_that_ends_in_the_middle_is_a_broken_pipe() -> None:
    frame = pl.DataFrame({"a": [1]})
    read, write = os.pipe()
    with os.fdopen(write, "wb", buffering=0) as file, csv_writer(file, {"a": pl.Int64}) as append:
        append(frame)
        assert os.read(read, 100) == b"a\n1\n"
        os.close(read)
        with pytest.raises(BrokenPipeError):
            append(frame)
