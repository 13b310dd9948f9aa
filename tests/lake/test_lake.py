"""Results as files of a lake: what is stored where, who finds it, and what is refused."""

import asyncio
import os
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from revalue.engine.correct.corrections import corrections
from revalue.engine.errors import (
    DatabaseSetupError,
    DatabaseUnavailableError,
    LakeFaultError,
    NotAllInPostgresError,
    StorageFileMissingError,
    UsageError,
)
from revalue.engine.lake.check import check, sweep
from revalue.engine.lake.files import StoredFile
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.maintain import maintain
from revalue.engine.lake.ownership import adopt, make_lake
from revalue.engine.lake.parquet import SCHEMA
from revalue.engine.operate.status import count_position_days
from revalue.engine.postgres import schema
from revalue.engine.postgres.bulk_copy import copy_frame
from revalue.engine.postgres.database import Database
from revalue.engine.read.explain import explain
from revalue.engine.read.frames import totals_by_currency, valuations
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.settings import Settings
from revalue.engine.value.valuer import Valuer, ValuerOptions
from tests.conftest import drop_database, fresh_database
from tests.faults.checks import assert_all_correct
from tests.integration.test_cli import code, run
from tests.integration.test_prune import changes, everything, live, moments
from tests.lake_rows import every_row
from tests.seaweed import BUCKET, ObjectStore
from tests.support import DAYS, SETTINGS, engine, execute, fetch, load_small_book

FILES = "SELECT count(*), sum(row_count) FROM lake_files"
IN_TABLE = "SELECT count(*) FROM ONLY daily_position_snapshots_2024_01"


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


def in_lake(lake: str, *, least_rows: int = 1) -> Settings:
    return SETTINGS.model_copy(update={"lake": lake, "lake_task_rows": least_rows, "task_rows": 30})


async def test_many_rows_are_a_file_and_few_are_in_postgresql(
    url: str, database: Database, lake: str
) -> None:
    await load_small_book(database, portfolios=3)
    async with engine(url, settings=in_lake(lake, least_rows=10)) as running:
        await running.settle()
        [[files, rows]] = await fetch(database, FILES)
        assert (files > 1, rows) == (True, 3 * 2 * len(DAYS))
        async with database.connection() as connection:
            assert await connection.fetchval(IN_TABLE) == 0
        await corrections.price(database, "A", DAYS[4], Decimal(77))
        await running.settle()
        async with database.connection() as connection:
            assert await connection.fetchval(IN_TABLE) == 3  # one date of three holders
        assert await count_position_days(database) == rows
        assert await assert_all_correct(database) == rows
    _, lines = await ReaderQueries(database).history("P1", "A", DAYS[3], DAYS[5])
    assert [(line["epoch"], line["price"]) for line in lines][1] == (1, 77)
    assert {line["epoch"] for line in lines} == {0, 1}


async def test_answers_are_the_same_when_the_rows_are_in_postgresql(
    url: str, database: Database, lake: str
) -> None:
    """A book that lived through corrections, holes, closings and retries, asked about every time
    of its past: first with all rows in files, then with the same rows in the table."""
    async with engine(url, settings=in_lake(lake)) as running:
        await live(database, running)
        await running.term.release()
    times = await moments(database)
    in_files = await everything(database, times), await changes(database)
    sums = await totals_by_currency(database)
    async with database.transaction() as connection:
        rows = await every_row(connection)
        await copy_frame(connection, "daily_position_snapshots", rows)
        await connection.execute("DELETE FROM lake_files")
        await connection.execute("DELETE FROM lake")
    in_table = await everything(database, times), await changes(database)
    for known_at, told in in_files[0].items():
        for question, answer in told.items():
            if question != "numbers":  # asked in SQL, which does not see the files
                assert in_table[0][known_at][question] == answer, (known_at, question)
    assert in_files[1] == in_table[1]
    assert sums.equals(await totals_by_currency(database))


async def test_a_view_that_cannot_show_all_rows_says_so(
    url: str, database: Database, lake: str
) -> None:
    await load_small_book(database, portfolios=1)
    query = "SELECT count(*) FROM position_valuations"
    async with engine(url, settings=in_lake(lake)) as running:
        async with database.connection() as connection:
            assert await connection.fetchval(query) == 0
        await running.settle()
    for question in (
        query,
        "SELECT * FROM position_valuations WHERE portfolio_id = 'NONE'",
        """SELECT p.portfolio_id, COALESCE(sum(v.market_value), 0)
           FROM portfolios p LEFT JOIN position_valuations v
             ON v.portfolio_id = p.portfolio_id AND v.date = '2024-01-04'
           GROUP BY 1""",
        """SELECT b.business_date, v.market_value
           FROM business_dates b LEFT JOIN position_valuations v ON v.date = b.business_date""",
        "SELECT EXISTS (SELECT FROM position_valuations WHERE date = '1999-01-04')",
    ):
        with pytest.raises(NotAllInPostgresError, match=f"in the lake {lake}"):
            async with database.connection() as connection:
                await connection.fetch(question)


async def test_a_database_keeps_to_its_lake_and_a_lake_to_its_database(
    url: str, database: Database, lake: str, tmp_path: Path, server_url: str, template: str
) -> None:
    """Also a lake without a file yet: a small book writes none for a long time."""
    await make_lake(database, lake)
    with pytest.raises(DatabaseSetupError, match="the lake of this database is"):
        await make_lake(database, str(tmp_path / "other"))
    address = await fresh_database(server_url, template)
    async with await Database.open(address) as other:
        with pytest.raises(DatabaseSetupError, match="the lake of another database"):
            await make_lake(other, lake)
        with pytest.raises(UsageError, match="relative path"):
            await make_lake(other, "lake")
        with pytest.raises(UsageError, match="not the path of a folder"):
            await make_lake(other, "~nobody-of-this-name/lake")
        (tmp_path / "files" / "snapshots").mkdir(parents=True)
        (tmp_path / "files" / "snapshots" / "x.parquet").touch()
        with pytest.raises(DatabaseSetupError, match="no mark of whose it is"):
            await make_lake(other, str(tmp_path / "files"))
    await drop_database(server_url, address)
    await execute(database, "UPDATE lake SET lake_id = gen_random_uuid()")
    with pytest.raises(DatabaseSetupError, match="another lake lies there"):
        await make_lake(database, lake)
    await execute(database, "DELETE FROM lake")  # it had marked the lake and was cut off then
    await make_lake(database, lake)


async def test_of_many_schedulers_at_once_each_finds_the_new_lake(
    database: Database, lake: str
) -> None:
    for number in range(3):
        await asyncio.gather(*(make_lake(database, f"{lake}{number}") for _ in range(4)))
        assert await fetch(database, "DELETE FROM lake RETURNING address") == [(f"{lake}{number}",)]


async def test_a_copy_of_the_server_is_fenced_by_an_adoption(
    url: str, database: Database, lake: str, server_url: str
) -> None:
    """Its name is that of the original, as of a copied data directory: who adopts goes on."""
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    [[as_before]] = await fetch(database, "SELECT lake_id::text FROM lake")
    await adopt(database)
    await make_lake(database, lake)
    await execute(database, "UPDATE lake SET lake_id = $1::text::uuid", as_before)  # the other one
    with pytest.raises(DatabaseSetupError, match="another database has adopted it"):
        await sweep(database, older_than=timedelta(days=1))
    with pytest.raises(DatabaseSetupError, match="another database has adopted it"):
        await maintain(database)
    with pytest.raises(DatabaseSetupError, match="another database has adopted it"):
        await Valuer.open(url, ValuerOptions(max_attempts=1, lake_task_rows=1))
    assert len(await valuations(database)) == 2 * len(DAYS)  # it may read
    await adopt(database)  # its name is the mark's: it may take the lake back


async def test_files_of_a_lake_that_is_not_mounted_are_not_written_elsewhere(
    url: str, database: Database, lake: str, tmp_path: Path
) -> None:
    """Neither by a scheduler that was at work, nor by a maintenance, which would take the rows out
    of PostgreSQL; and no folder is made in its place."""
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake, least_rows=10)) as running:
        await running.settle()
        (tmp_path / "lake").rename(tmp_path / "away")
        (tmp_path / "lake").mkdir()  # the mount point
        await execute(database, "UPDATE market_prices SET price = price + 1")
        with pytest.raises(DatabaseSetupError, match="mount it"):
            await running.settle()
    for work in (maintain(database, least_moved=1), sweep(database, older_than=timedelta(days=1))):
        with pytest.raises(DatabaseSetupError, match="mount it"):
            await work
    (tmp_path / "lake").rmdir()
    with pytest.raises(StorageFileMissingError):
        await valuations(database)
    with pytest.raises(DatabaseSetupError, match="mount it"):
        await maintain(database, least_moved=1)
    assert not (tmp_path / "lake").exists()
    (tmp_path / "away").rename(tmp_path / "lake")
    async with engine(url, settings=in_lake(lake, least_rows=10)) as running:
        await running.settle()
        assert await assert_all_correct(database) == 2 * len(DAYS)


async def test_a_file_that_was_stored_long_ago_is_not_recorded(
    url: str, database: Database, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process stood still, and it may have been swept: the rows are stored anew."""
    await load_small_book(database, portfolios=1)
    real, stood_still = Lake.store, []

    def store(self: Lake, rows: pl.DataFrame, name: str) -> StoredFile:
        stored = real(self, rows, name)
        if not stood_still:
            stood_still.append(stored.path)
            return replace(stored, stored_at=stored.stored_at - 3_700)
        return stored

    monkeypatch.setattr(Lake, "store", store)
    behind = "SELECT FROM position_status WHERE state <> 'CURRENT'"
    async with engine(url, settings=in_lake(lake)) as running, asyncio.timeout(30):
        await running.settle()
        while await fetch(database, behind):  # a pause follows
            await asyncio.sleep(0.02)
            await running.settle()
    paths = [path for (path,) in await fetch(database, "SELECT path FROM lake_files")]
    assert stood_still[0] not in paths
    assert await assert_all_correct(database) == 2 * len(DAYS)


async def test_a_changed_bit_is_found(url: str, database: Database, lake: str) -> None:
    """By the check, and by a maintenance, which would make it permanent."""
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    _change_a_bit(lake)
    found_by = await check(database)
    assert (found_by.is_sound, len(found_by.damaged)) == (False, 1)
    await execute(database, "UPDATE lake_files SET dates = '[2023-12-31,2024-01-27)'")
    with pytest.raises(LakeFaultError, match="is damaged"):
        await maintain(database)


@pytest.mark.parametrize("day", [date.min, DAYS[0], date.max])
async def test_no_dates_are_no_rows(url: str, database: Database, lake: str, day: date) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    assert len(await valuations(database, first_date=DAYS[3], last_date=day)) == 0 or day > DAYS[3]
    _, lines = await ReaderQueries(database).history("P1", "A", date.max, day)
    assert lines == []


def _change_a_bit(lake: str) -> None:
    [file, *_] = sorted(Path(lake).rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(bytes(data))


async def test_a_lake_that_is_not_mounted_is_noticed(
    url: str, database: Database, lake: str, tmp_path: Path
) -> None:
    """By a valuer before it writes, and by a reader that misses a file."""
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    (tmp_path / "lake").rename(tmp_path / "away")
    (tmp_path / "lake").mkdir()
    with pytest.raises(DatabaseSetupError, match="mount it"):
        await Valuer.open(url, ValuerOptions(max_attempts=1, lake_task_rows=1))
    with pytest.raises(StorageFileMissingError, match="mount it"):
        await valuations(database)
    with pytest.raises(StorageFileMissingError):
        await ReaderQueries(database).positions("P1", DAYS[-1])


async def test_a_row_that_is_stored_twice_is_an_error_and_no_choice(
    url: str, database: Database, lake: str
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    async with database.connection() as connection:
        one = (await every_row(connection)).head(1)
        await copy_frame(connection, "daily_position_snapshots", one)
    for ask in (
        lambda: valuations(database),
        lambda: ReaderQueries(database).positions("P1", DAYS[0]),
        lambda: ReaderQueries(database).history("P1", "A", DAYS[0], DAYS[-1]),
        lambda: explain(database, "P1", "A", DAYS[0]),
    ):
        with pytest.raises(LakeFaultError, match="which one is right is not known"):
            await ask()
    await execute(
        database,
        "INSERT INTO lake_files (path, row_count, byte_count, sha256, positions, dates, max_epoch,"
        " moment_id) SELECT path, row_count, byte_count, sha256, positions, dates, max_epoch,"
        " moment_id"
        " FROM lake_files",
    )
    with pytest.raises(LakeFaultError, match="has two rows of"):
        await valuations(database)


def _damage_one(lake: str) -> None:
    [file, *_] = sorted(Path(lake).rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-10])


async def test_a_damaged_file_is_named(url: str, database: Database, lake: str) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    _damage_one(lake)
    with pytest.raises(LakeFaultError, match="cannot be read"):
        await valuations(database)


async def test_the_columns_of_a_file_are_those_of_the_table(database: Database) -> None:
    """With the types that they have there."""
    types = {
        "bigint": "int64",
        "integer": "int32",
        "smallint": "int16",
        "date": "date32[day]",
        "numeric(28,10)": "decimal128(28, 10)",
        "numeric(38,18)": "decimal128(38, 18)",
    }
    columns = await fetch(
        database,
        """SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
           WHERE attrelid = 'daily_position_snapshots'::regclass AND attnum > 0""",
    )
    assert {field.name: str(field.type) for field in SCHEMA} == {
        name: types[kind] for name, kind in columns
    }


async def test_a_schema_that_does_not_know_the_files_is_refused(
    url: str, database: Database, lake: str
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    with pytest.raises(Exception, match="which an older revision would not find"):
        await schema.migrate(url, "0029")


async def test_the_commands(url: str, database: Database, lake: str) -> None:
    def said(*arguments: str) -> str:
        result = run(url, "lake", *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert code(url, "lake", "status")[0] == 4  # there is none
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    assert lake in said("status")
    assert f"{2 * len(DAYS)} rows, {DAYS[0]} to {DAYS[-1]}" in said("status")
    assert "The lake is sound" in said("check")
    orphan = _add_orphan(lake)
    assert "1 file of" in said("check")
    said("sweep")
    assert orphan.exists()  # it is too young
    _make_older(orphan)
    assert "orphan.parquet" in said("sweep", "--dry-run")
    assert orphan.exists()
    assert "1 file were deleted" in said("sweep")
    assert not orphan.exists()
    assert "0 rows moved out of PostgreSQL" in said("maintain")
    assert "The lake is sound" in said("check")
    _damage_one(lake)
    checked = run(url, "lake", "check")
    assert (checked.exit_code, "not of the recorded size" in checked.stdout) == (1, True)
    await execute(database, "UPDATE lake SET owner = 'another'")
    assert "is a copy" in said("status")
    assert code(url, "lake", "sweep")[0] == 78
    with pytest.raises(DatabaseSetupError, match="revalue lake adopt"):
        await make_lake(database, lake)
    said("adopt", "--yes")
    await make_lake(database, lake)


async def test_a_check_finds_a_row_that_is_stored_twice(
    url: str, database: Database, lake: str
) -> None:
    await load_small_book(database, portfolios=1)
    async with engine(url, settings=in_lake(lake)) as running:
        await running.settle()
    assert (await check(database)).is_sound
    async with database.connection() as connection:
        rows = (await every_row(connection)).head(2)
        await copy_frame(connection, "daily_position_snapshots", rows)
    told = await check(database)
    assert (told.is_sound, told.twice, len(told.examples)) == (False, 2, 2)


async def test_a_killed_attempt_leaves_an_orphan_and_no_row(
    url: str, database: Database, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies after its file is stored, and again before its transaction is committed."""
    await load_small_book(database, portfolios=1)
    died = []

    def die(point: str) -> None:
        if point in ("value.stored", "value.copied") and point not in died:
            died.append(point)
            raise DatabaseUnavailableError("injected")

    monkeypatch.setattr("revalue.engine.value.commit.fault_point", die)
    behind = "SELECT FROM position_status WHERE state <> 'CURRENT'"
    async with engine(url, settings=in_lake(lake)) as running, asyncio.timeout(30):
        await running.settle()
        while await fetch(database, behind):  # a pause follows each loss
            await asyncio.sleep(0.02)
            await running.settle()
        assert await assert_all_correct(database) == 2 * len(DAYS)
    assert died == ["value.stored", "value.copied"]
    told = await check(database)
    assert (told.is_sound, len(told.orphans)) == (True, 2)


async def test_results_of_fenced_spans_are_not_in_the_lake(
    url: str, database: Database, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correction comes between the file and its transaction: the rows that are left go into
    PostgreSQL, and the file is not recorded."""
    await load_small_book(database, portfolios=2)
    corrected = []
    real = Lake.store

    def correct(self: Lake, rows: pl.DataFrame, name: str) -> StoredFile:
        stored = real(self, rows, name)
        if not corrected:
            corrected.append(stored)
            asyncio.run(another_record())
        return stored

    async def another_record() -> None:
        async with await Database.open(url, connections=1) as other:
            await corrections.position(
                other, "P1", "A", DAYS[2], Decimal(5), Decimal(1), Decimal(1)
            )

    monkeypatch.setattr(Lake, "store", correct)
    settings = in_lake(lake).model_copy(update={"task_rows": 1_000})
    async with engine(url, settings=settings) as running:
        await running.settle()
        assert await assert_all_correct(database) == 4 * len(DAYS)
    paths = [path for (path,) in await fetch(database, "SELECT path FROM lake_files")]
    assert corrected[0].path not in paths
    async with database.connection() as connection:
        assert await connection.fetchval(IN_TABLE) == 3 * len(DAYS)  # of the other positions


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
        await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
        await running.settle()
        assert await assert_all_correct(database) == 4 * len(DAYS)
    assert (await check(database)).is_sound
    assert len(await valuations(database)) == 4 * len(DAYS)


def _add_orphan(lake: str) -> Path:
    [file, *_] = sorted(Path(lake).rglob("*.parquet"))
    orphan = file.with_name("orphan.parquet")
    orphan.write_bytes(file.read_bytes())
    return orphan


def _make_older(file: Path) -> None:
    then = file.stat().st_mtime - 25 * 3600
    os.utime(file, (then, then))
