"""What a load reads: any file whose content is plain, standard input, and dates of the future."""

import gzip
import io
import json
import os
import subprocess
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import revalue
from revalue.console.cli.main import app
from revalue.engine.correct.inputs.future_dates import today_somewhere
from revalue.engine.postgres.database import Database
from tests.conftest import small_book
from tests.support import DAYS, facts, fetch, prices

FRAME = prices("A", {DAYS[3]: "55.5", DAYS[4]: "56.5"})


@pytest.fixture
async def book(server_url: str, template: str) -> AsyncIterator[str]:
    async with small_book(server_url, template, 2, valued=False) as address:
        yield address


def call(book: str, *arguments: str, given: bytes = b"") -> Result:
    """The command, with this on its standard input."""
    with ThreadPoolExecutor(1) as thread:
        command = ["--database-url", book, *arguments]
        return thread.submit(CliRunner().invoke, app, command, input=given).result()


def refusal(result: Result) -> tuple[int, str]:
    """The exit code and the message."""
    return getattr(result.exception, "exit_code", result.exit_code), str(result.exception)


def csv_of(frame: pl.DataFrame = FRAME) -> bytes:
    return frame.write_csv().encode()


def parquet_of(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [csv_of(), gzip.compress(csv_of()), parquet_of(FRAME)],
    ids=["csv", "csv.gz", "parquet"],
)
async def test_standard_input_is_loaded_as_a_file_is(book: str, content: bytes) -> None:
    told = json.loads(call(book, "load", "prices", "-", "--json", given=content).stdout)
    assert (told["rows"], told["changed"], told["warnings"]) == (2, 2, [])
    async with await Database.open(book) as database:
        stored = await fetch(
            database,
            "SELECT price_date, price FROM market_prices WHERE security_id = 'A' AND price IN "
            "(55.5, 56.5) ORDER BY 1",
        )
        assert [(day, str(price.normalize())) for day, price in stored] == [
            (DAYS[3], "55.5"),
            (DAYS[4], "56.5"),
        ]
    [load] = json.loads(call(book, "loads", "--limit", "1", "--json").stdout)
    assert load["source"] == "standard input"


def test_standard_input_can_be_a_snapshot_and_a_file_of_corrections(book: str) -> None:
    held = facts("P1", "A", {DAYS[3]: "7"})
    snapshot = ("load", "positions", "-", "--snapshot", "--yes", "--json")
    told = json.loads(call(book, *snapshot, given=csv_of(held)).stdout)
    assert [record["security_id"] for record in told["closed_records"]] == ["B"]
    said = call(book, "correct", "file", "-", given=csv_of()).output
    assert said.startswith("2 rows of prices: 2 changed, 0 unchanged\n")


def test_the_content_of_a_text_file_says_what_it_is(book: str, tmp_path: Path) -> None:
    for number, content in enumerate((csv_of(), parquet_of(FRAME))):
        path = tmp_path / f"prices-{number}.TXT"
        path.write_bytes(content)
        assert call(book, "load", "prices", str(path)).exit_code == 0
    path = tmp_path / "packed.txt.gz"
    path.write_bytes(gzip.compress(csv_of()))
    assert "0 changed, 2 unchanged" in call(book, "load", "prices", str(path)).output


@pytest.mark.parametrize("content", [csv_of(), parquet_of(FRAME)], ids=["csv", "parquet"])
def test_a_pipe_with_a_name_is_read_as_standard_input_is(
    book: str, tmp_path: Path, content: bytes
) -> None:
    """As a shell gives it for `<(zcat feed.gz)`."""
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_bytes(content)
    writing = subprocess.Popen(["sh", "-c", f"cat {file} > {pipe}"])
    try:
        told = json.loads(call(book, "load", "prices", str(pipe), "--json").stdout)
    finally:
        writing.kill()  # it waits for a reader, if there was none
        writing.wait()
    assert (told["rows"], told["changed"]) == (2, 2)
    [load] = json.loads(call(book, "loads", "--limit", "1", "--json").stdout)
    assert load["source"] == str(pipe)


@pytest.mark.parametrize("name", ["fx_rates", "fx-rates", "rates", "fx"])
def test_rates_are_loaded_by_each_of_their_names(book: str, name: str) -> None:
    rows = b"base_currency,quote_currency,rate_date,rate\nEUR,USD,2024-01-02,1.25\n"
    loaded = json.loads(call(book, "load", name, "-", "--json", given=rows).stdout)
    assert (loaded["kind"], loaded["rows"]) == ("fx_rates", 1)
    [listed] = json.loads(call(book, "loads", "--kind", name, "--limit", "1", "--json").stdout)
    assert listed["load_id"] == loaded["load_id"]
    with revalue.connect(book) as opened:
        [found] = opened.loads.list(name, limit=1)
        assert found.load_id == loaded["load_id"]


def test_any_suffix_is_taken_if_the_format_is_given(book: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.dat"
    path.write_bytes(csv_of())
    code, words = refusal(call(book, "load", "prices", str(path)))
    assert (code, "the suffix '.dat' is unknown" in words) == (65, True)
    assert call(book, "load", "prices", str(path), "--format", "csv").exit_code == 0
    assert call(book, "correct", "file", str(path), "--format", "csv").exit_code == 0
    code, words = refusal(call(book, "load", "prices", str(path), "--format", "parquet"))
    assert (code, "prices.dat cannot be read" in words) == (65, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "standard input cannot be read: it is empty"),
        (csv_of(FRAME.clear()), "standard input names its columns and has no rows"),
        (csv_of().replace(b",", b"\t"), "tabs"),
        (csv_of().replace(b",", b";"), "semicolons"),
        (b"PAR1 and nothing else", "standard input cannot be read"),
        (b"\x1f\x8b and nothing else", "standard input cannot be unpacked"),
        (b"a picture\n\x00\x01", "standard input"),
    ],
)
async def test_what_cannot_be_read_is_refused_as_standard_input(
    book: str, content: bytes, words: str
) -> None:
    code, said = refusal(call(book, "load", "prices", "-", given=content))
    assert (code, words in said) == (65, True), said
    assert "/tmp" not in said
    async with await Database.open(book) as database:
        assert await fetch(database, "SELECT count(*) FROM loads WHERE source LIKE 'stand%'") == [
            (0,)
        ]


def test_a_price_of_a_day_to_come_is_loaded_and_told(book: str, tmp_path: Path) -> None:
    late = today_somewhere() + timedelta(days=1)
    days = {DAYS[3]: "55.5", date(2099, 1, 5): "7", late: "8"}
    path = tmp_path / "prices.csv"
    path.write_bytes(csv_of(prices("A", days)))
    result = call(book, "load", "prices", str(path))
    assert result.exit_code == 0
    [warning] = [line for line in result.output.splitlines() if line.startswith("warning")]
    assert f"price_date is later than {today_somewhere()} in 2 of 3 rows" in warning
    assert f"(line 3: A 2099-01-05, line 4: A {late})" in warning
    told = json.loads(call(book, "load", "prices", str(path), "--dry-run", "--json").stdout)
    assert [f"warning: {each}" for each in told["warnings"]] == [warning]


@pytest.mark.parametrize(
    ("kind", "frame", "told"),
    [
        ("positions", facts("P1", "A", {date(2204, 3, 4): "7"})[:0], None),
        ("positions", facts("P1", "A", {date(2099, 3, 4): "7"}), "row 1: P1 A 2099-03-04"),
        ("positions", facts("P1", "A", {today_somewhere() + timedelta(days=30): "7"}), None),
        (
            "fx_rates",
            pl.DataFrame(
                {
                    "base_currency": ["EUR"] * 7,
                    "quote_currency": ["USD"] * 7,
                    "rate_date": [date(2099, 3, day) for day in range(1, 8)],
                    "rate": ["1.5"] * 7,
                }
            ),
            "row 5: EUR USD 2099-03-05 and 2 more",
        ),
        ("prices", prices("A", {today_somewhere(): "8"}), None),
        (
            "business_dates",
            pl.DataFrame({"calendar_id": ["XNYS"], "business_date": [date(2099, 3, 4)]}),
            None,
        ),
    ],
)
def test_what_may_lie_in_the_future_is_not_told(
    book: str, tmp_path: Path, kind: str, frame: pl.DataFrame, told: str | None
) -> None:
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path)
    said = json.loads(call(book, "load", kind, str(path), "--allow-empty", "--json").stdout)
    assert len(said["warnings"]) == (told is not None)
    assert told is None or told in said["warnings"][0]


FAR = date(2099, 3, 4)


def of_price(day: date) -> str:
    said = f"price_date {day} is later than {today_somewhere()}"
    return f"{said}: what has this date changes no number before its day is opened"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("price", "A", f"{FAR}", "8"), of_price(FAR)),
        (("price", "A", f"{FAR}", "--delete"), None),
        (("price", "A", f"{DAYS[3]}", "8"), None),
        (("rate", "EUR", "USD", f"{FAR}", "1.5"), f"rate_date {FAR} is later than"),
        (("position", "P1", "A", f"{FAR}", "8", "1", "1"), f"position_date {FAR} is later than"),
        (("split", "A", f"{FAR}", "4:1", "--yes"), f"position_date {FAR} is later than"),
        (("file", "-"), f"row 1: A {FAR}). Such a row changes no number"),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else "",
)
def test_a_correction_of_a_day_to_come_is_told_on_the_command_line(
    book: str, tmp_path: Path, arguments: tuple[str, ...], told: str | None
) -> None:
    rates = {"base_currency": "EUR", "quote_currency": "USD", "rate_date": FAR, "rate": "1.4"}
    with revalue.connect(book) as opened:
        opened.load("prices", prices("A", {FAR: "7"}))
        opened.load("fx_rates", pl.DataFrame(rates))
    given = parquet_of(prices("A", {FAR: "9"}))
    dry_run = ("correct", *arguments, "--dry-run")
    as_json = json.loads(call(book, *dry_run, "--json", given=given).stdout)
    warnings = [each for each in as_json["correction"]["warnings"] if "_date" in each]
    assert [told is not None and told in each for each in warnings] == [True] * (told is not None)
    for command in (dry_run, ("correct", *arguments)):
        said = call(book, *command, given=given).output.splitlines()
        of_dates = [line for line in said if line.startswith("warning") and "_date" in line]
        assert of_dates == [f"warning: {each}" for each in warnings]


def test_a_day_to_come_is_told_in_python(book: str) -> None:
    with revalue.connect(book) as opened:
        [told] = opened.load("prices", prices("A", {FAR: "7"})).warnings
        assert told.startswith("the frame: price_date is later than ")
        assert f"(row 1: A {FAR})" in told
        corrected = opened.correct(revalue.Price("A", FAR, Decimal(8)))
        assert not isinstance(corrected, revalue.SplitCorrection)
        assert of_price(FAR) in corrected.warnings
        [told] = opened.correct(revalue.FileOf(prices("A", {FAR: "9"}))).warnings
        assert f"(row 1: A {FAR})" in told
        assert opened.load("prices", prices("A", {DAYS[3]: "7"})).warnings == ()


def test_today_is_the_latest_date_on_earth() -> None:
    assert today_somewhere(datetime(2024, 3, 5, 9, 59, tzinfo=UTC)) == date(2024, 3, 5)
    assert today_somewhere(datetime(2024, 3, 5, 10, 0, tzinfo=UTC)) == date(2024, 3, 6)
