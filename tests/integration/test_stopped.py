"""Commands that real signals end: what they say that was done, and what was."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import polars as pl
import pytest

from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from tests.integration.test_cli import valued
from tests.support import DAYS, fetch, prices, until

__all__ = ["valued"]  # a fixture

WAITING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'"""

# The process sends itself a signal while it does the second part of its work.
AT_THE_SECOND = """
import os, signal, sys
from revalue.console.cli import verify
from revalue.console.cli.main import main
from revalue.engine.read import report
verify._BATCH = 2
calls = 0
def stopping(work):
    def stopped(*given, **named):
        global calls
        calls += 1
        if calls == 2:
            os.kill(os.getpid(), signal.{signal})
        return work(*given, **named)
    return stopped
verify.compare = stopping(verify.compare)
report._read = stopping(report._read)
main()
"""


def started(
    url: str, *arguments: str, program: tuple[str, ...] = ("-m", "revalue")
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        env={**os.environ, "REVALUE_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    said, complaints = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, said, complaints


async def stopped_while_it_waits(
    url: str, lock: str, number: signal.Signals, *arguments: str
) -> tuple[int, str, str]:
    """A command that waits for a lock of somebody else when the signal comes."""
    somebody, looking = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with somebody.transaction():
            await somebody.execute(lock)
            process = started(url, *arguments)

            async def waits() -> bool:
                assert process.poll() is None, process.communicate()
                return bool(await looking.fetchval(WAITING))

            await until(waits, seconds=60)
            process.send_signal(number)
            return await ended(process)
    finally:
        await somebody.close()
        await looking.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_load_that_is_stopped_writes_nothing_and_says_so(
    valued: str, database: Database, number: signal.Signals, tmp_path: Path
) -> None:
    file = tmp_path / "prices.csv"
    prices("A", dict.fromkeys(DAYS, "77")).write_csv(file)
    stored = "SELECT security_id, price_date, price FROM market_prices ORDER BY 1, 2"
    loads = "SELECT count(*) FROM loads"
    before = await fetch(database, stored), await fetch(database, loads)
    lock = "LOCK TABLE market_prices IN SHARE MODE"
    code, said, complaints = await stopped_while_it_waits(
        valued, lock, number, "load", "prices", str(file)
    )
    assert (code, said, complaints) == (
        128 + number,
        "",
        "interrupted: nothing was written\n",
    )
    assert (await fetch(database, stored), await fetch(database, loads)) == before


async def test_a_comparison_that_is_stopped_says_how_many_rows_it_has_checked(
    valued: str,
) -> None:
    program = ("-c", AT_THE_SECOND.format(signal="SIGINT"))
    code, said, complaints = await ended(started(valued, "verify", "--all", program=program))
    assert (code, said) == (130, "")
    assert complaints == (
        f"interrupted: {2 * len(DAYS)} rows were recomputed by then: 0 disagreements. The others "
        "were not looked at\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_file_that_is_not_complete_is_not_there(
    valued: str, number: signal.Signals, tmp_path: Path
) -> None:
    file = tmp_path / "positions.parquet"
    call = ("read", "positions", "--from", f"{DAYS[0]}", "--to", f"{DAYS[4]}", "--output")
    program = ("-c", AT_THE_SECOND.format(signal=number.name))
    code, said, complaints = await ended(started(valued, *call, str(file), program=program))
    assert (code, said, complaints) == (
        128 + number,
        "",
        f"interrupted: {file} was not written\n",
    )
    assert os.listdir(tmp_path) == []
    pl.DataFrame({"older": [1]}).write_parquet(file)
    code, _, complaints = await ended(started(valued, *call, str(file), program=program))
    assert (code, complaints) == (
        128 + number,
        f"interrupted: {file} was not written; the file of that name is as it was before\n",
    )
    assert pl.read_parquet(file).columns == ["older"]


async def test_an_export_that_is_stopped_leaves_the_table_as_it_is(
    valued: str, tmp_path: Path
) -> None:
    lock = "LOCK TABLE daily_position_snapshots"
    call = ("export", "--format", "parquet", str(tmp_path))
    code, said, complaints = await stopped_while_it_waits(valued, lock, signal.SIGTERM, *call)
    assert (code, said, complaints) == (
        143,
        "",
        "interrupted: the table is as it was before; files that it does not list may be left "
        "there\n",
    )
    assert sorted(os.listdir(tmp_path)) == [".incoming", "_revalue_export.json"]


async def test_a_migration_that_is_stopped_says_which_revision_there_is(bare_url: str) -> None:
    async def revision() -> str:
        connection = await asyncpg.connect(bare_url)
        found: str = await connection.fetchval("SELECT version_num FROM alembic_version")
        await connection.close()
        return found

    await schema.migrate(bare_url, "0025")
    # What the migration of 0028 writes anew: those before it are done by then.
    lock = "LOCK TABLE position_state IN ACCESS SHARE MODE"
    code, said, complaints = await stopped_while_it_waits(bare_url, lock, signal.SIGTERM, "migrate")
    reached = await revision()
    assert "0025" < reached < "0028"
    assert (code, said, complaints) == (
        143,
        "",
        f"interrupted: the schema is at revision {reached}; the migration that was running is "
        "rolled back\n",
    )
