"""SQL over the lake: the numbers of the engine's own readers, as of one moment, or an error."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from uuid import uuid4

import duckdb
import polars as pl
import pytest

from revalue.console.cli.lake_sql import _ask
from revalue.engine.core.decimals import AMOUNT
from revalue.engine.core.valuation import AMOUNT_COLUMNS
from revalue.engine.correct.corrections import corrections
from revalue.engine.errors import (
    LakeFaultError,
    NotFoundError,
    NotYetKnownError,
    StorageFileMissingError,
    UsageError,
)
from revalue.engine.lake.maintain import maintain
from revalue.engine.lake.storage import open_storage
from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from revalue.engine.read.frames import valuations
from revalue.engine.read.lake_sql import EFFECTS, LakeSql, sql
from revalue.engine.read.report import Wanted
from tests.integration.test_cli import code, run
from tests.integration.test_prune import live, moments
from tests.lake.test_lake import in_lake
from tests.seaweed import BUCKET, ObjectStore
from tests.support import DAYS, engine, fetch, load_small_book

EVERYTHING = "SELECT * FROM position_valuations ORDER BY portfolio_id, security_id, date"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return str(tmp_path / "lake [1]")  # a name is not a pattern


async def asked(database: Database, query: str, known_at: datetime | None = None) -> pl.DataFrame:
    opened = await LakeSql.opened(database, known_at=known_at)
    try:
        found = opened.query(query)
        assert found is not None
        return pl.concat([pl.DataFrame(schema=found.columns), *found.frames])
    finally:
        opened.close()


async def assert_told_the_same(database: Database, known_at: datetime | None) -> pl.DataFrame:
    told = await asked(database, EVERYTHING, known_at)
    expected = await valuations(database, known_at=known_at)
    exact = told.with_columns(pl.col(AMOUNT_COLUMNS).cast(AMOUNT))
    assert exact.select(expected.columns).equals(expected), known_at
    return told


async def test_it_tells_what_the_readers_of_the_engine_tell(
    url: str, database: Database, lake: str
) -> None:
    """Now and at many times, of a book with files and with rows in PostgreSQL; and after
    maintenance, when the files are others."""
    async with engine(url, settings=in_lake(lake, least_rows=5)) as running:
        await live(database, running)
        await running.settle()
        await running.term.release()
    times = [None, *(await moments(database))[::7]]
    assert len(times) > 4
    opened = await LakeSql.opened(database)
    assert opened.rows_from_postgresql > 0
    for known_at in times:
        told = await assert_told_the_same(database, known_at)
    assert told.schema["market_value"] == pl.Decimal(28, 10)
    assert told.schema["fx_rate"] == pl.Decimal(38, 18)
    await maintain(database, least_moved=1)
    for known_at in times:
        await assert_told_the_same(database, known_at)
    now = await assert_told_the_same(database, None)
    days = [each async for each in report.positions(database, Wanted(first_date=DAYS[0]))]
    effects = ["portfolio_id", "security_id", "date", "price_effect", "fx_effect"]
    valued = pl.concat(days).filter(pl.col("price_effect").is_not_null()).select(effects)
    assert now.select(effects).sort(effects).equals(valued.sort(effects))
    # What is open keeps to its moment and to the files that were replaced meanwhile.
    await corrections.price(database, "A", DAYS[3], Decimal("99"))
    found = opened.query(EVERYTHING)
    assert found is not None
    assert pl.concat(found.frames).equals(now)
    with pytest.raises(NotYetKnownError):
        await LakeSql.opened(database, known_at=datetime.now(UTC) + timedelta(days=1))
    _damage(_files(lake, "merged-*")[0])
    with pytest.raises(LakeFaultError, match="backup"):
        await asked(database, EVERYTHING)
    opened.close()


async def test_a_file_that_is_missing_is_an_error(url: str, database: Database, lake: str) -> None:
    await load_small_book(database, portfolios=3)
    with pytest.raises(NotFoundError, match="position_valuations of PostgreSQL"):
        await LakeSql.opened(database)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    files = _files(lake)
    assert len(files) > 2
    for file in (files[0], files[-1]):
        data = file.read_bytes()
        file.unlink()
        with pytest.raises(StorageFileMissingError, match="backup"):
            await asked(database, "SELECT sum(market_value) FROM position_valuations")
        file.write_bytes(data)
    assert len(await asked(database, EVERYTHING)) == 6 * len(DAYS)


async def test_the_command(
    url: str,
    database: Database,
    lake: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    before = (await moments(database))[-1]
    async with engine(url, settings=in_lake(lake, least_rows=9)) as running:
        await corrections.price(database, "A", DAYS[0], Decimal(77))
        await running.settle()
    of_day = f"FROM position_valuations WHERE date = '{DAYS[0]}'"
    one = f"SELECT price, epoch {of_day} ORDER BY security_id"
    told = run(url, "lake", "sql", one)
    assert told.stdout.splitlines()[:2] == ["price,epoch", "77.000000000000000000,1"]
    assert told.stderr == "2 rows\n"
    earlier = run(url, "lake", "sql", one, "--known-at", before.isoformat()).stdout
    assert [line.partition(",")[2] for line in earlier.splitlines()] == ["epoch", "0", "0"]
    [first, _] = json.loads(run(url, "lake", "sql", one, "--json").stdout)
    assert first == {"price": "77.000000000000000000", "epoch": 1}
    file = tmp_path / "all.parquet"
    run(url, "lake", "sql", "FROM position_valuations", "--output", str(file))
    assert len(pl.read_parquet(file)) == 2 * len(DAYS)
    assert code(url, "lake", "sql", "SELECT [1]")[0] == 2  # no CSV
    assert json.loads(run(url, "lake", "sql", "SELECT [1] AS a", "--json").stdout) == [{"a": [1]}]
    opened = await LakeSql.opened(database)
    lines = iter(["SELEC", "", "SELECT 40 + 2 AS x", "exit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    await asyncio.to_thread(_ask, opened)
    said = capsys.readouterr()
    assert "syntax error" in said.err
    assert "x\n42\n" in said.out


async def test_what_duckdb_refuses_is_a_wrong_query(
    url: str, database: Database, lake: str
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    opened = await LakeSql.opened(database)
    for wrong in ("SELEC 1", "SELECT nothing FROM position_valuations", "SELECT INTERVAL 1 DAY"):
        with pytest.raises(UsageError, match=r"DuckDB"):
            opened.query(wrong)
    made = opened.query("CREATE TABLE mine AS FROM position_valuations")
    assert made is not None
    assert [frame.row(0) for frame in made.frames] == [(2 * len(DAYS),)]
    found = opened.query("SELECT 1 AS a, 2 AS a, sum(2) AS b FROM mine")
    assert found is not None
    assert list(found.columns) == ["a", "a_1", "b"]
    assert [frame.row(0) for frame in found.frames] == [(1, 2, Decimal(4 * len(DAYS)))]
    plan = opened.query(f"EXPLAIN FROM position_valuations WHERE date = '{DAYS[0]}'")
    assert plan is not None
    # It is of joins and scans; a subquery in an expression would hold conditions back from them.
    assert "delim" not in str([frame.rows() for frame in plan.frames]).lower()
    opened.close()


def test_effects_are_rounded_as_decimals_are() -> None:
    """Half-even, of products with more digits than DuckDB has; at ties, and of both signs."""
    cases = [
        ("0.0000000001", "0.5"),
        ("0.0000000003", "0.5"),
        ("-0.0000000001", "0.5"),
        ("-0.0000000003", "0.5"),
        ("-0.0000000005", "1.500000000000000001"),
        ("999999999999999999.9999999999", "1.234567890123456789"),
        ("-999999999999999999.9999999999", "987654321.987654321987654321"),
        ("123456789.0123456789", "0.000000000000000001"),
        ("0", "1.1"),
    ]
    exact = Context(prec=100, rounding=ROUND_HALF_EVEN)
    with duckdb.connect() as connection:
        for name in EFFECTS:
            connection.execute(sql(name).text)
        for gain, rate in cases:
            query = "SELECT gain_by_price(?::DECIMAL(28, 10), ?::DECIMAL(38, 18))"
            [(found,)] = connection.execute(query, [gain, rate]).fetchall()
            product = exact.multiply(Decimal(gain), Decimal(rate))
            assert found == product.quantize(Decimal("1e-10"), context=exact), (gain, rate)


@pytest.mark.slow
async def test_a_lake_in_an_object_store(
    url: str, database: Database, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    await load_small_book(database, portfolios=2)
    settings = in_lake(f"s3://{BUCKET}/books/{uuid4().hex}")
    async with engine(url, settings=settings) as running:
        await running.settle()
        before = (await moments(database))[-1]
        await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
        await running.settle()
    for known_at in (None, before):
        await assert_told_the_same(database, known_at)
    await maintain(database)
    for known_at in (None, before):
        await assert_told_the_same(database, known_at)
    [(path,), *_] = await fetch(database, "SELECT path FROM lake_files")
    open_storage(str(settings.lake)).delete([path])
    with pytest.raises(StorageFileMissingError, match="backup"):
        await asked(database, EVERYTHING)


def _files(lake: str, names: str = "*") -> list[Path]:
    return sorted(Path(lake).rglob(f"{names}.parquet"))


def _damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8] + b"\0" * 8)
