"""Exported tables: they have the published numbers of a moment, in every engine that reads them."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.expressions import AlwaysTrue, EqualTo
from pyiceberg.table import StaticTable

from revalue.actors.steps import DatabaseSteps
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import (
    DataFaultError,
    ExportFaultError,
    NotFoundError,
    StorageSetupError,
    StorageUnavailableError,
    UsageError,
    WriteConflictError,
)
from revalue.engine.export.columns import COLUMNS as COLUMNS_OF_TABLE
from revalue.engine.export.columns import SCHEMA
from revalue.engine.export.export import Exported, Format, export, sql
from revalue.engine.fault_injection import EXPORT_POINTS
from revalue.engine.operate.prune import prune
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement
from revalue.engine.read import report
from revalue.engine.settings import Settings
from tests.conftest import book_template, drop_database, fresh_database, small_book
from tests.integration.test_cli import code, run
from tests.integration.test_prune import live
from tests.lake.test_lake import in_lake
from tests.seaweed import BUCKET, ObjectStore
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
    weekdays,
)

pytestmark = pytest.mark.filterwarnings("ignore:Iceberg scan planning")  # by pyiceberg: slower

FORMATS: tuple[Format, ...] = ("iceberg", "delta", "parquet")
DAYS_OF_TWO_MONTHS = weekdays(date(2024, 1, 22), 14)
JANUARY, FEBRUARY = "2024-01", "2024-02"

COLUMNS = """portfolio_id, security_id, date, base_currency, local_currency, valuation_status,
    quantity, cost_basis_local, cost_basis, price, price_date, fx_rate, fx_date,
    market_value_local, market_value, unrealized_gain_local, unrealized_gain, price_effect,
    fx_effect, epoch"""
PUBLISHED = f"SELECT {COLUMNS} FROM position_valuations ORDER BY 1, 2, 3"
NAMES = [name.strip() for name in COLUMNS.split(",")]

PORTFOLIO = pl.DataFrame({"portfolio_id": ["P1"], "base_currency": "USD", "calendar_id": "CAL"})
INSTRUMENT = pl.DataFrame({"security_id": ["A"], "currency": "USD", "max_price_age_sessions": 5})
SIZES = ("28, 10", "38, 18", "38, 10")

Rows = list[tuple[Any, ...]]


def rows_of(table: pa.Table) -> Rows:
    """The rows of a table by portfolio, security and date, with decimals as such."""
    columns = [table.column(name).to_pylist() for name in NAMES]
    return sorted(zip(*columns, strict=True), key=lambda row: row[:3])


def options(store: ObjectStore | None) -> dict[str, str] | None:
    return None if store is None else {**store.environment(), "AWS_ALLOW_HTTP": "true"}


def of_deltalake(
    target: str, store: ObjectStore | None = None, version: int | None = None
) -> pa.Table:
    return DeltaTable(target, version=version, storage_options=options(store)).to_pyarrow_table()


def iceberg(target: str, store: ObjectStore | None = None) -> StaticTable:
    properties = {} if store is None else {
        "s3.endpoint": f"http://127.0.0.1:{store.port}",
        "s3.access-key-id": store.access_key,
        "s3.secret-access-key": store.secret_key,
        "s3.region": "us-east-1",
    }  # fmt: skip
    return StaticTable.from_metadata(target, properties)


def of_pyiceberg(target: str, store: ObjectStore | None = None) -> pa.Table:
    return iceberg(target, store).scan().to_arrow()


def listed(target: str) -> list[str]:
    """The files that current.json lists, as its readers find them."""
    current = json.loads((Path(target) / "current.json").read_text())
    return [f"{target}/{file['path']}" for file in current["files"]]


def _scan(target: str, format: Format) -> pl.LazyFrame:
    match format:
        case "delta":
            return pl.scan_delta(target)
        case "iceberg":
            return pl.scan_iceberg(iceberg(target))
        case "parquet":
            return pl.scan_parquet(listed(target), hive_partitioning=True)


def of_polars(target: str, format: Format) -> pa.Table:
    return _scan(target, format).collect().to_arrow()


def _paths(target: str, format: Format) -> list[str]:
    """The data files that the table lists."""
    match format:
        case "delta":
            return DeltaTable(target).file_uris()
        case "iceberg":
            return [task.file.file_path for task in iceberg(target).scan().plan_files()]
        case "parquet":
            return listed(target)


def of_duckdb(target: str, format: Format) -> pa.Table:
    """By its own reader of Parquet, of the files that the table lists."""
    return duckdb.read_parquet(_paths(target, format)).to_arrow_reader(10_000).read_all()


READERS: dict[Format, list[Callable[[str], pa.Table]]] = {
    "iceberg": [of_pyiceberg],
    "delta": [of_deltalake],
    "parquet": [],
}


def assert_read_as(target: str, format: Format, expected: Rows) -> None:
    """Every engine reads these rows, exactly."""
    assert expected
    for read in READERS[format]:
        assert rows_of(read(target)) == expected, read
    for other in (of_polars, of_duckdb):
        assert rows_of(other(target, format)) == expected, other


def settings_of(in_files: bool, tmp_path: Path) -> Settings:
    return in_lake(str(tmp_path / "lake"), least_rows=5) if in_files else SETTINGS


@pytest.mark.parametrize("in_files", [False, True], ids=["postgresql", "lake"])
async def test_every_engine_reads_what_is_published(
    url: str,
    database: Database,
    tmp_path: Path,
    in_files: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First all of it, then only the month of a correction is new, and the old version is there
    still; then nothing is new."""
    monkeypatch.setattr("revalue.engine.read.published.POSITIONS_AT_ONCE", 3)
    await load_small_book(database, portfolios=2, days=DAYS_OF_TWO_MONTHS)
    targets = {format: str(tmp_path / "tables" / format) for format in FORMATS}
    async with engine(url, settings=settings_of(in_files, tmp_path)) as running:
        await running.settle()
        before = await fetch(database, PUBLISHED)
        first = {
            format: await export(database, target, format=format)
            for format, target in targets.items()
        }
        for format, target in targets.items():
            done = first[format]
            assert (done.is_new, done.months) == (True, (JANUARY, FEBRUARY))
            assert (done.rows, done.files) == (len(before), 4)  # of three positions, and of one
            assert_read_as(target, format, before)
        for new in ("123", "123.4567890123"):
            await corrections.price(database, "A", DAYS_OF_TWO_MONTHS[2], Decimal(new))
            await running.settle()
            if new == "123":
                await export(database, targets["iceberg"], format="iceberg")
    after = await fetch(database, PUBLISHED)
    assert after != before
    in_january = sum(row[2] < date(2024, 2, 1) for row in after)
    for format, target in targets.items():
        kept = _files_of(target, FEBRUARY)
        done = await export(database, target, format=format)
        assert (done.is_new, done.months, done.rows) == (True, (JANUARY,), in_january)
        assert done.moment > first[format].moment
        assert _files_of(target, FEBRUARY) == kept
        assert_read_as(target, format, after)
        assert _before(target, format, first[format]) == before
        again = await export(database, target, format=format)
        assert (again.is_new, again.version, again.moment) == (False, done.version, done.moment)
        assert (again.rows, again.files, again.months) == (0, 0, ())
    assert (
        _found_by_date(targets, DAYS_OF_TWO_MONTHS[2])
        == [[row for row in after if row[2] == DAYS_OF_TWO_MONTHS[2]]] * 3
    )
    table = iceberg(targets["iceberg"])
    manifests = table.metadata.current_snapshot().manifests(table.io)
    assert len(manifests) == 3  # of files that are new, of those deleted by it, and of the others
    log = DeltaTable(targets["delta"]).history()
    newest = await export(database, targets["delta"], format="delta")
    moments = [newest.moment.isoformat(), first["delta"].moment.isoformat()]
    assert [each["revalue.moment"] for each in log] == moments


def _found_by_date(targets: dict[Format, str], day: date) -> list[Rows]:
    """The rows of a date, for which engines leave out files by what the tables say of them."""
    delta, in_iceberg = DeltaTable(targets["delta"]), iceberg(targets["iceberg"])
    assert len(in_iceberg.scan(row_filter=f"date = '{day}'").plan_files()) == 2  # and not 4
    return [
        rows_of(delta.to_pyarrow_table(filters=[("date", "=", day)])),
        rows_of(pl.scan_delta(targets["delta"]).filter(pl.col("date") == day).collect().to_arrow()),
        rows_of(in_iceberg.scan(row_filter=f"date = '{day}'").to_arrow()),
    ]


def _files_of(target: str, month: str) -> set[str]:
    return {path.name for path in (Path(target) / f"data/month={month}").iterdir()}


def _before(target: str, format: Format, done: Exported) -> Rows:
    """What a table was after an export, as readers find it later."""
    match format:
        case "delta":
            return rows_of(of_deltalake(target, version=int(done.version)))
        case "iceberg":
            scan = iceberg(target).scan(snapshot_id=int(done.version))
            return rows_of(scan.to_arrow())
        case "parquet":
            old = json.loads((Path(target) / f"versions/{done.version}.json").read_text())
            files = [f"{target}/{file['path']}" for file in old["files"]]
            return rows_of(pl.read_parquet(files).to_arrow())


@pytest.mark.slow
@pytest.mark.parametrize("in_files", [False, True], ids=["postgresql", "lake"])
async def test_no_change_is_missed(
    url: str,
    database: Database,
    tmp_path: Path,
    in_files: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A book lives through corrections, holes, closings, retries and days that are closed again.
    Its table is brought in step after every turn of the scheduler, also while positions are valued
    and not published."""
    target, seen = str(tmp_path / "table"), 0
    small = settings_of(in_files, tmp_path).model_copy(update={"task_rows": 8})
    async with engine(url, settings=small) as running:
        turn = running.loop.run_once

        async def turn_and_compare() -> bool:
            nonlocal seen
            worked, before = await turn(), []
            while before != (published := await fetch(database, PUBLISHED)):  # actors go on
                before = published
                seen += (await export(database, target, format="parquet")).is_new
            if published:
                assert rows_of(pl.read_parquet(listed(target)).to_arrow()) == published
            return worked

        monkeypatch.setattr(running.loop, "run_once", turn_and_compare)
        await live(database, running)
        await running.settle()
    assert seen > 10


@pytest.mark.parametrize("securities", ["A", "AB"])
async def test_numbers_that_were_valued_before_an_export_and_published_after_it(
    url: str,
    database: Database,
    tmp_path: Path,
    securities: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By their job, or, where its positions were corrected at different times, each by itself."""
    await load_small_book(database, portfolios=1, days=DAYS_OF_TWO_MONTHS)
    target, apply, waited = str(tmp_path), DatabaseSteps.apply, []

    async def export_before(steps: DatabaseSteps, *tasks: Any, **given: Any) -> Any:
        """The rows are committed, and readers do not see them yet."""
        waited.append((await export(database, target, format="parquet")).is_new)
        await _commit_again(database, target)
        return await apply(steps, *tasks, **given)

    async with engine(url) as running:
        await running.settle()
        await export(database, target, format="parquet")
        monkeypatch.setattr(DatabaseSteps, "apply", export_before)
        for security, day in zip(securities, DAYS_OF_TWO_MONTHS[::13], strict=False):
            await corrections.price(database, security, day, Decimal(66))
        await running.settle()
        assert waited == [False]
        done = await export(database, target, format="parquet")
        assert done.months == (JANUARY, FEBRUARY)[: len(securities)]
        query = "SELECT count(*) FROM portfolio_valuation_jobs WHERE published_moment IS NOT NULL"
        assert await fetch(database, query) == [(1 if securities == "A" else 0,)]
    await _assert_listed_once(database, target)


async def test_numbers_that_a_later_job_of_their_position_publishes(
    url: str, database: Database, tmp_path: Path
) -> None:
    """The export comes when the first of two jobs is committed; the second one publishes both."""
    await load_small_book(database, portfolios=1, days=DAYS_OF_TWO_MONTHS)
    target = str(tmp_path)
    async with engine(url) as running:
        await running.settle()
        await export(database, target, format="parquet")
        for day in (DAYS_OF_TWO_MONTHS[0], DAYS_OF_TWO_MONTHS[-1]):
            await corrections.price(database, "A", day, Decimal(66))
            await running.settle()
    of_first = "FROM portfolio_valuation_jobs WHERE 1 = ANY (epochs)"
    committed = f"SELECT at FROM moments WHERE moment_id = (SELECT moment_id {of_first})"
    await _commit_again(database, target, f"({committed})")
    # As it is where the position was not published between the two.
    await execute(
        database,
        f"""UPDATE portfolio_valuation_jobs
            SET published_moment = CASE WHEN 2 = ANY (epochs) THEN published_moment END,
                invalidated_moment = (SELECT invalidated_moment {of_first})
            WHERE epochs[1] > 0""",
    )
    done = await export(database, target, format="parquet")
    assert done.months == (JANUARY, FEBRUARY)
    await _assert_listed_once(database, target)


async def _commit_again(
    database: Database, target: str, at: str = "(SELECT max(at) FROM moments)"
) -> None:
    """As if other numbers had been new: the table stands for the present moment, or another."""
    [[moment]] = await fetch(database, f"SELECT {at}")
    version = Path(target) / "versions/1.json"
    committed = json.loads(version.read_text()) | {"moment": moment.isoformat()}
    version.write_text(json.dumps(committed))


async def _assert_listed_once(database: Database, target: str) -> None:
    published = await fetch(database, PUBLISHED)
    assert rows_of(pl.read_parquet(listed(target)).to_arrow()) == published


async def test_only_months_that_changed_are_written(
    url: str, database: Database, tmp_path: Path
) -> None:
    days = weekdays(date(2024, 1, 29), 28)  # until 2024-03-06
    await load_small_book(database, portfolios=1, days=days)
    target = str(tmp_path)

    async def months() -> tuple[str, ...]:
        return (await export(database, target, format="parquet")).months

    async with engine(url) as running:
        await running.settle()
        assert await months() == (JANUARY, FEBRUARY, "2024-03")
        await load(database, Kind.PRICES, prices("A", {days[-1]: "60"}))
        assert await months() == ()  # nothing is published yet
        await running.settle()
        assert await months() == ("2024-03",)
        later = weekdays(date(2024, 3, 7), 1)
        await load(database, Kind.PRICES, prices("A", dict.fromkeys(later, "61")))
        await load(database, Kind.PRICES, prices("B", dict.fromkeys(later, "61")))
        await open_days(database, later)
        await running.settle()
        assert await months() == ("2024-03",)
        await load(
            database, Kind.POSITIONS, facts("P1", "A", {date(2024, 2, 5): "0"}), replace=True
        )
        await running.settle()
        assert await months() == (FEBRUARY, "2024-03")  # it is closed: its later numbers are gone
        await execute(database, "DELETE FROM fx_rates WHERE rate_date < '2024-02-01'")  # no use
        await running.settle()
        assert await months() == ()
    await _assert_listed_once(database, target)


async def test_files_that_delta_has_merged_are_replaced_too(
    url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its log has been packed into a checkpoint, in which no older commit is."""
    monkeypatch.setattr("revalue.engine.read.published.POSITIONS_AT_ONCE", 1)
    await load_small_book(database, portfolios=1, days=DAYS_OF_TWO_MONTHS)
    target = str(tmp_path)
    async with engine(url) as running:
        await running.settle()
        await export(database, target, format="delta")
        merged = DeltaTable(target).optimize.compact()
        assert (merged["numFilesRemoved"], merged["numFilesAdded"]) == (4, 2)
        DeltaTable(target).create_checkpoint()
        (tmp_path / "_delta_log" / f"{0:020}.json").unlink()
        assert not (await export(database, target, format="delta")).is_new
        await corrections.price(database, "A", DAYS_OF_TWO_MONTHS[0], Decimal(66))
        await running.settle()
    assert (await export(database, target, format="delta")).months == (JANUARY,)
    assert_read_as(target, "delta", await fetch(database, PUBLISHED))


@pytest.mark.parametrize("expires", [False, True], ids=["merged", "merged and expired"])
async def test_files_that_another_program_has_merged_in_iceberg_are_replaced_too(
    url: str, database: Database, tmp_path: Path, expires: bool
) -> None:
    """As Spark does it with a table in a folder; here by pyiceberg with a catalogue of its own."""
    await load_small_book(database, portfolios=2, days=DAYS_OF_TWO_MONTHS)
    target = str(tmp_path / "table")
    async with engine(url) as running:
        await running.settle()
        await export(database, target, format="iceberg")
        _merge_in_iceberg(target, tmp_path, expires=expires)
        assert not (await export(database, target, format="iceberg")).is_new
        assert_read_as(target, "iceberg", await fetch(database, PUBLISHED))
        await corrections.price(database, "A", DAYS_OF_TWO_MONTHS[0], Decimal(66))
        await running.settle()
    assert (await export(database, target, format="iceberg")).months == (JANUARY,)
    assert_read_as(target, "iceberg", await fetch(database, PUBLISHED))


def _merge_in_iceberg(target: str, tmp_path: Path, *, expires: bool) -> None:
    catalog = InMemoryCatalog("other", warehouse=str(tmp_path))
    catalog.create_namespace("other")
    before = iceberg(target)
    table = catalog.register_table("other.table", before.metadata_location)
    rows = table.scan().to_arrow()
    merged = [f"{target}/data/merged-{month}.parquet" for month in (JANUARY, FEBRUARY)]
    for month, path in zip((1, 2), merged, strict=True):
        pq.write_table(rows.filter(pc.equal(pc.month(rows["date"]), month)), path)
    with table.transaction() as transaction:
        transaction.delete(AlwaysTrue())
        transaction.add_files(merged)
    if expires:
        table.maintenance.expire_snapshots().older_than(datetime.now()).commit()
        assert len(table.refresh().snapshots()) == 1
    number = int(re.findall(r"v(\d+)\.metadata", before.metadata_location)[0]) + 1
    folder = Path(target) / "metadata"
    (folder / f"v{number}.metadata.json").write_bytes(
        Path(table.metadata_location.removeprefix("file://")).read_bytes()
    )
    (folder / "version-hint.text").write_text(str(number))
    assert sorted(_paths(target, "iceberg")) == sorted(merged)


async def test_a_table_of_which_nothing_is_left(
    url: str, database: Database, tmp_path: Path
) -> None:
    """All prices are deleted, so that no date shows a number; then one is there again."""
    await load_small_book(database, portfolios=1, days=DAYS_OF_TWO_MONTHS)
    targets = {format: str(tmp_path / format) for format in FORMATS}
    async with engine(url) as running:
        await running.settle()
        for format, target in targets.items():
            await export(database, target, format=format)
        await execute(database, "DELETE FROM market_prices")
        await running.settle()
        for format, target in targets.items():
            done = await export(database, target, format=format)
            assert (done.is_new, done.months, done.rows) == (True, (JANUARY, FEBRUARY), 0)
            assert not (await export(database, target, format=format)).is_new
        assert of_deltalake(targets["delta"]).num_rows == 0
        assert of_pyiceberg(targets["iceberg"]).num_rows == 0
        assert listed(targets["parquet"]) == []
        await load(database, Kind.PRICES, prices("A", {DAYS_OF_TWO_MONTHS[0]: "60"}))
        await running.settle()
    published = await fetch(database, PUBLISHED)
    for format, target in targets.items():
        assert (await export(database, target, format=format)).months == (JANUARY,)
        assert_read_as(target, format, published)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("point", EXPORT_POINTS)
async def test_an_export_that_dies_lists_no_file_twice(
    server_url: str,
    template: str,
    tmp_path: Path,
    format: Format,
    point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the first export and at a later one; the next one makes up for it."""
    async with small_book(server_url, template, 1) as url:
        target, deaths = str(tmp_path), 0
        async with await Database.open(url) as database:
            for new in ("31.5", None):
                with monkeypatch.context() as patched:
                    for module in ("export", "table"):
                        patched.setattr(
                            f"revalue.engine.export.{module}.fault_point", _dies_at(point)
                        )
                    try:
                        await export(database, target, format=format)
                    except _Died:
                        deaths += 1
                published = await fetch(database, PUBLISHED)
                await export(database, target, format=format)
                assert_read_as(target, format, published)
                done = await export(database, target, format=format)
                assert not done.is_new
                if new is not None:
                    await corrections.price(database, "A", DAYS[3], Decimal(new))
                    async with engine(url) as running:
                        await running.settle()
    assert deaths == (0 if (format, point) == ("delta", "export.committed") else 2)


class _Died(Exception):
    pass


def _dies_at(point: str) -> Callable[[str], None]:
    def reached(now: str) -> None:
        if now == point:
            raise _Died

    return reached


async def test_what_is_pruned_is_written_again(
    url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=1, days=DAYS_OF_TWO_MONTHS)
    target = str(tmp_path)

    async def corrected(running: Engine, new: str) -> None:
        await corrections.price(database, "A", DAYS_OF_TWO_MONTHS[1], Decimal(new))
        await running.settle()

    async with engine(url) as running:
        await running.settle()
        first = await export(database, target, format="parquet")
        await corrected(running, "55")
        await prune(database, before=first.moment)
        done = await export(database, target, format="parquet")
        assert (done.is_rewritten, done.months) == (False, (JANUARY,))
        await corrected(running, "56")
        [[floor]] = await fetch(database, "SELECT max(at) FROM moments")
        await prune(database, before=floor)
        done = await export(database, target, format="parquet")
        assert (done.is_rewritten, done.months) == (True, (JANUARY, FEBRUARY))
    await _assert_listed_once(database, target)


async def test_what_is_no_target_is_refused(
    server_url: str, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = await book_template(server_url, template, 1)
    url, another = [await fresh_database(server_url, book) for _ in range(2)]
    target = str(tmp_path / "table")
    try:
        async with (
            await Database.open(url) as database,
            await Database.open(another) as other_database,
        ):

            async def refused(match: str, target: str = target, **given: Any) -> None:
                wanted = {"format": "parquet", "database": database, **given}
                with pytest.raises(UsageError, match=match):
                    await export(wanted.pop("database"), target, **wanted)

            await export(database, target, format="parquet")
            files = _every_file(tmp_path)
            await refused("another database", database=other_database)
            await refused("of the format parquet", format="delta")
            await refused("there is no format", format="csv")
            await refused("is no target", "gs://bucket/table")
            for place in ("versions", "data"):
                await refused("something else", f"{target}/{place}")
            assert _every_file(tmp_path) == files
            (tmp_path / "file").touch()
            with pytest.raises(StorageSetupError):
                await export(database, str(tmp_path / "file"), format="parquet")
            for format, package in (("iceberg", "pyiceberg"), ("delta", "deltalake")):
                with monkeypatch.context() as patched:
                    patched.delitem(sys.modules, f"revalue.engine.export.{format}", raising=False)
                    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
                        patched.delitem(sys.modules, name)
                    patched.setitem(sys.modules, package, None)
                    await refused(r"'revalue\[export\]'", str(tmp_path / "new"), format=format)
            assert not (tmp_path / "new").exists()
            async with database.connection() as held:
                lock = "SELECT pg_advisory_lock(hashtext('revalue export'), hashtext($1))"
                await held.execute(lock, target)
                with pytest.raises(WriteConflictError, match="another export"):
                    await export(database, target, format="parquet")
            await _assert_a_restored_database_is_refused(database, target)
            (Path(target) / "versions/1.json").write_text("{}")
            with pytest.raises(ExportFaultError, match="damaged"):
                await export(database, target, format="parquet")
    finally:
        for address in (url, another):
            await drop_database(server_url, address)


def _every_file(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def _assert_a_restored_database_is_refused(database: Database, target: str) -> None:
    """A table of a moment that the database has never seen, or not any more."""
    version = Path(target) / "versions/1.json"
    written = version.read_text()
    later = json.loads(written) | {"moment": datetime.now(UTC).isoformat()}
    version.write_text(json.dumps(later))
    with pytest.raises(UsageError, match="restored"):
        await export(database, target, format="parquet")
    version.write_text(written)
    assert not (await export(database, target, format="parquet")).is_new


async def test_nothing_is_exported_before_something_is_valued(
    url: str, database: Database, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="nothing is valued"):
        await export(database, str(tmp_path), format="parquet")
    await load_small_book(database, portfolios=1)
    with pytest.raises(NotFoundError, match="no position-day is valued"):
        await export(database, str(tmp_path), format="delta")
    async with engine(url) as running:
        await running.settle()
    assert (await export(database, str(tmp_path), format="delta")).rows == 2 * len(DAYS)


async def test_another_program_that_commits_at_the_same_time_wins(
    server_url: str, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that this database's lock does not keep away, as on a standby."""
    async with small_book(server_url, template, 1) as url:
        monkeypatch.setattr("revalue.engine.export.export.sql", _without_lock)
        async with await Database.open(url) as database:
            for format in FORMATS:
                await export(database, str(tmp_path / format), format=format)
            async with engine(url) as running:
                await corrections.price(database, "A", DAYS[3], Decimal(66))
                await running.settle()
            published = await fetch(database, PUBLISHED)
            for format in FORMATS:
                beside = _Beside(url, str(tmp_path / format), format)
                monkeypatch.setattr("revalue.engine.export.export.fault_point", beside.reached)
                with pytest.raises(WriteConflictError, match="another program"):
                    await export(database, beside.target, format=format)
                assert beside.is_done
                assert_read_as(beside.target, format, published)


def _without_lock(name: str) -> Statement:
    if name == "lock_target":
        return Statement.parse("SELECT :target::text IS NOT NULL")
    return sql(name)


@dataclass
class _Beside:
    """Another export of the same table, when the first one is about to commit."""

    url: str
    target: str
    format: Format
    is_done: bool = False

    def reached(self, point: str) -> None:
        if not self.is_done:
            self.is_done = True
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, self._export()).result()

    async def _export(self) -> None:
        async with await Database.open(self.url) as database:
            assert (await export(database, self.target, format=self.format)).is_new


@pytest.mark.slow
async def test_tables_in_an_object_store(
    url: str, database: Database, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    await load_small_book(database, portfolios=1, days=DAYS_OF_TWO_MONTHS)
    root = f"s3://{BUCKET}/tables/{uuid4().hex}"
    targets: dict[Format, str] = {format: f"{root}/{format}" for format in FORMATS}
    read = {"iceberg": of_pyiceberg, "delta": of_deltalake}
    async with engine(url) as running:
        await running.settle()
        for format, target in targets.items():
            await export(database, target, format=format)
        await corrections.rate(database, "EUR", "USD", DAYS_OF_TWO_MONTHS[-1], Decimal("1.5"))
        await corrections.price(database, "A", DAYS_OF_TWO_MONTHS[-1], Decimal("1.5"))
        await running.settle()
    published = await fetch(database, PUBLISHED)
    for format, target in targets.items():
        assert (await export(database, target, format=format)).months == (FEBRUARY,)
        assert not (await export(database, target, format=format)).is_new
        if format in read:
            assert rows_of(read[format](target, object_store)) == published
    monkeypatch.setattr("revalue.engine.lake.s3_storage.RETRY_SECONDS", 0.5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageUnavailableError):
        await export(database, targets["delta"], format="delta")


async def test_the_command(server_url: str, template: str, tmp_path: Path) -> None:
    async with small_book(server_url, template, 1) as url:
        target = str(tmp_path / "table")
        made = json.loads(run(url, "export", "--format", "delta", target, "--json").stdout)
        assert (made["target"], made["format"], made["version"]) == (target, "delta", "0")
        assert (made["is_new"], made["months"]) == (True, [JANUARY])
        assert (made["rows"], made["files"]) == (2 * len(DAYS), 1)
        [file] = (each for each in _every_file(tmp_path) if each.suffix == ".parquet")
        assert made["bytes"] == file.stat().st_size
        assert made["moment"] == DeltaTable(target).history()[0]["revalue.moment"]
        again = run(url, "export", "--format", "delta", target)
        assert again.stdout.startswith(f"Nothing is new: version 0 of {target} (")
        new = run(url, "export", "--format", "parquet", str(tmp_path / "new"))
        assert f"{2 * len(DAYS)} rows of 1 month in 1 file, " in new.stdout
        assert code(url, "export", "--format", "iceberg", target)[0] == 2


def test_the_page_has_every_column() -> None:
    page = (Path(__file__).parents[2] / "docs/export.md").read_text()
    told = dict.fromkeys(SCHEMA.names, "")
    for name, kind, doc in re.findall(r"^\| (\w+) \| ([\w(),]+) \| (.+) \|$", page, re.MULTILINE):
        if name in told:
            told[name] = f"{kind}: {doc}"
    expected = {
        name: f"{_KINDS.get(str(kind), str(kind))}: {doc}"
        for name, (kind, doc) in COLUMNS_OF_TABLE.items()
    }
    assert told == expected


_KINDS = {
    "int32": "int",
    "date32[day]": "date",
    **{f"decimal128({size})": f"decimal({size.replace(' ', '')})" for size in SIZES},
}


ODD = "\U00020bb7\u91ce\u5bb6"
"""A portfolio with a character that JSON writes as two."""


@pytest.mark.parametrize("format", FORMATS)
async def test_a_filter_finds_the_rows_that_it_is_of(
    url: str, database: Database, tmp_path: Path, format: Format
) -> None:
    """By whatever column: statistics that lack some, or are wrong, would leave out files."""
    await load_small_book(database, portfolios=2)
    await load(database, Kind.PORTFOLIOS, PORTFOLIO.with_columns(portfolio_id=pl.lit(ODD)))
    await load(database, Kind.POSITIONS, facts(ODD, "A", {DAYS[0]: "7"}))
    target = str(tmp_path / "table")
    async with engine(url) as running:
        await running.settle()
        await export(database, target, format=format)
    every = pl.DataFrame(of_polars(target, format))
    assert set(every["portfolio_id"]) == {"P1", "P2", ODD}
    for name in NAMES:
        value = every.sort("portfolio_id", "date")[name].drop_nulls()[-1]
        fits = every.filter(pl.col(name) == value)
        found = {
            "polars": _scan(target, format).filter(pl.col(name) == value).collect().height,
            "DuckDB": len(
                duckdb.read_parquet(_paths(target, format))
                .filter(duckdb.ColumnExpression(name) == duckdb.ConstantExpression(value))
                .fetchall()
            ),
        }
        if format == "delta":
            table = DeltaTable(target).to_pyarrow_table(filters=[(name, "=", value)])
            found["deltalake"] = table.num_rows
        if format == "iceberg" and not isinstance(value, Decimal):
            found["pyiceberg"] = iceberg(target).scan(EqualTo(name, value)).to_arrow().num_rows
        assert set(found.values()) == {fits.height}, (name, value, found)


async def test_the_log_of_a_delta_table_is_not_cleaned_up(
    url: str, database: Database, tmp_path: Path
) -> None:
    """deltalake deletes what is a month old when it makes a checkpoint, unless it is told."""
    await load_small_book(database, portfolios=1)
    async with engine(url) as running:
        await running.settle()
        await export(database, str(tmp_path / "table"), format="delta")
    kept = DeltaTable(str(tmp_path / "table")).metadata().configuration
    assert kept["delta.enableExpiredLogCleanup"] == "false"


@pytest.mark.parametrize("part", ["50%", "a*", "[x]", "what?", "date=2024-01-01", "month=2024-01"])
async def test_a_path_that_engines_misread_is_refused(
    database: Database, tmp_path: Path, part: str
) -> None:
    with pytest.raises(UsageError, match="give another target"):
        await export(database, str(tmp_path / part / "table"), format="parquet")
    assert os.listdir(tmp_path) == []


async def test_a_target_inside_the_lake_is_refused(
    url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=settings_of(True, tmp_path)) as running:
        await running.settle()
    inside = tmp_path / "lake" / "snapshots" / "table"
    with pytest.raises(UsageError, match="inside the lake"):
        await export(database, str(inside), format="parquet")


async def test_an_effect_that_fits_no_column_is_named(
    url: str, database: Database, tmp_path: Path
) -> None:
    """The view shows it, as a numeric of any size; a table has 28 digits before the point."""
    day = DAYS[0]
    await open_days(database, [day])
    await load(database, Kind.PORTFOLIOS, PORTFOLIO.with_columns(base_currency=pl.lit("EUR")))
    await load(database, Kind.INSTRUMENTS, INSTRUMENT)
    rate = {"base_currency": "EUR", "quote_currency": "USD", "rate_date": day}
    await load(database, Kind.FX_RATES, pl.DataFrame({**rate, "rate": ["0.000000000001"]}))
    await load(database, Kind.PRICES, prices("A", {day: "0.01"}))
    await load(database, Kind.POSITIONS, facts("P1", "A", {day: "1"}, cost="1" + "0" * 17))
    async with engine(url) as running:
        await running.settle()
    [[effect]] = await fetch(database, "SELECT price_effect FROM position_valuations")
    assert abs(effect) > 10**28
    with pytest.raises(DataFaultError, match="28 digits"):
        await export(database, str(tmp_path / "table"), format="parquet")
    with pytest.raises(DataFaultError, match="28 digits"):
        [_ async for _ in report.positions(database, report.Wanted())]
