"""What the benchmarks measure with: processes and tables, against known ones."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from revalue.benchmarks import lake_reads, position_cost, scheduler_limit
from revalue.benchmarks.baselines import chunks_of
from revalue.benchmarks.cost import Meter
from revalue.benchmarks.harness import BenchmarkFailedError
from revalue.benchmarks.sizes import Size, kept, others_per_snapshot_byte, table_sizes
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import rolled_back
from revalue.engine.settings import Settings
from tests.conftest import small_book

MIB = 2**20

MEMORY = f"""
import mmap, sys
shared = mmap.mmap(-1, 200 * {MIB})
shared.write(b"x" * len(shared))
own = bytearray(b"x" * (60 * {MIB}))
print("ready", flush=True)
sys.stdin.readline()
"""

CHILD = """
import subprocess, sys
print("ready", flush=True)
sys.stdin.readline()
subprocess.run([sys.executable, "-c", "sum(n * n for n in range(6_000_000))"])
print("done", flush=True)
sys.stdin.readline()
"""


@contextmanager
def program(text: str) -> Iterator[subprocess.Popen[str]]:
    """Run it until it has said that it is ready; end it after the block."""
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


async def test_memory_that_is_shared_is_not_counted(database: Database) -> None:
    with program(
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {MEMORY!r}])"
    ) as parent:
        meter = Meter(parent.pid)
        await meter.start(database)
        peak = (await meter.stop(database)).peak_anonymous_mib["ray"]
    assert 60 <= peak < 100


async def test_the_cpu_of_processes_that_have_ended_is_counted(database: Database) -> None:
    with program(CHILD) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        meter = Meter(process.pid)
        await meter.start(database)
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        spent = (await meter.stop(database)).cpu_seconds
    assert spent["ray"] > 0.1
    assert spent["client"] < spent["ray"]


async def test_the_cpu_of_sessions_that_have_ended_is_the_servers(database: Database) -> None:
    meter = Meter()
    await meter.start(database)
    async with await Database.open(database.url) as other, other.connection() as connection:
        await connection.fetchval("SELECT sum(n::numeric * n) FROM generate_series(1, 400000) n")
    assert (await meter.stop(database)).cpu_seconds["postgresql"] > 0.03


async def test_partitions_are_counted_with_their_table(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            """CREATE TABLE parted (n int, text text, PRIMARY KEY (n)) PARTITION BY RANGE (n);
               CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
               CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (1000) TO (2000);
               CREATE TABLE baseline_x AS SELECT n FROM generate_series(1, 1000) n"""
        )
        before = await table_sizes(connection, counted=True)
        await connection.execute(
            "INSERT INTO parted SELECT n, repeat('x', 1000) FROM generate_series(0, 1999) n"
        )
        after = await table_sizes(connection, counted=True)
    assert not [name for name in after if name.startswith(("parted_", "baseline_"))]
    assert (before["parted"].rows, after["parted"].rows) == (0, 2000)
    assert after["parted"].table_bytes > 2_000_000
    assert after["parted"].index_bytes > 2000 * 8
    grown = kept(before, after)
    assert list(grown) == ["parted"]
    assert grown["parted"] == after["parted"].bytes - before["parted"].bytes


def test_only_tables_with_more_rows_have_kept_something() -> None:
    before = {"jobs": Size(100, 50, 10), "state": Size(100, 50, 10)}
    after = {"jobs": Size(150, 60, 11), "state": Size(500, 50, 10), "new": Size(8, 16, 1)}
    assert kept(before, after) == {"jobs": 60, "new": 24}


def test_all_other_tables_are_compared_with_the_snapshots() -> None:
    sizes = {"daily_position_snapshots": Size(80, 20), "jobs": Size(30, 10), "prices": Size(5, 5)}
    assert others_per_snapshot_byte(sizes) == 0.5


async def test_the_upper_bound_sends_many_positions_at_once(server_url: str, template: str) -> None:
    async with (
        small_book(server_url, template, 1) as url,
        await Database.open(url) as database,
        database.connection() as connection,
    ):
        first, last = await connection.fetchrow(
            "SELECT min(position_id), max(position_id) FROM daily_position_snapshots"
        )
        assert [tuple(chunk) for chunk in await chunks_of(connection, 50_000)] == [(first, last)]
        assert len(await chunks_of(connection, 1)) == last - first + 1 > 1


async def test_a_position_costs_less_log_where_columns_that_change_are_together_at_the_end(
    database: Database,
) -> None:
    """The bytes of the log do not depend on how busy the machine is."""
    cost = await position_cost.measure(database, 5_000, 2)
    async with database.connection() as connection:
        valued = await connection.fetch(
            "SELECT epoch, count(*) FROM daily_position_snapshots GROUP BY 1 ORDER BY 1"
        )
    assert [tuple(row) for row in valued] == [(0, 10_000), (1, 5_000), (2, 5_000)]
    assert [(each["correction"], each["step"]) for each in cost["steps"]] == [
        (correction, step)
        for correction in ("after a checkpoint", "the next one")
        for step in ("fan out", "value", "apply")
    ]
    assert all(each["wal_bytes"] > 50 for each in cost["steps"])
    as_it_is, in_front, of_its_own = (each["later"]["wal_bytes"] for each in cost["variants"])
    assert as_it_is < 0.75 * in_front
    assert of_its_own <= as_it_is


async def test_a_scheduler_is_measured_on_actors_that_wait(database: Database) -> None:
    said: list[str] = []
    done = await scheduler_limit.measure(
        database,
        Settings(task_rows=100),
        positions=1_000,
        actors=3,
        row_us=500,
        task_ms=50,
        say=said.append,
    )
    assert done.verified == "1,000 positions, each in one of 10 jobs"
    assert said[0].startswith("  … 1,000 positions are made")
    assert set(done.step_seconds) == {"scan", "stage", "apply"}
    # Ten tasks of 100 ms. The live lane has an actor of its own besides.
    assert done.tasks == 10
    assert done.most_at_work == 3 + 1
    assert 0.25 < done.seconds < 30
    assert 0.9 < done.valuing * done.seconds < 5
    assert 0 < done.scheduler_cpu_seconds < done.seconds * 2
    assert set(done.postgresql_cpu_seconds) == {"scan", "steps", "commit", "rest"}
    assert done.postgresql_cpu_seconds["steps"] > 0
    assert done.wal_bytes > 1_000 * 50
    assert done.peak_anonymous_mib > 20


async def test_the_limit_of_a_scheduler_counts_only_if_each_position_has_one_job(
    database: Database,
) -> None:
    await scheduler_limit.measure(
        database, Settings(), positions=50, actors=1, row_us=0, task_ms=0, say=lambda _: None
    )
    for damage, told in (
        ("UPDATE position_state SET frontier_date = frontier_date - 1 WHERE position_id = 7", "1 "),
        ("UPDATE portfolio_valuation_jobs SET is_open = true", "1 jobs are not complete"),
        (
            """INSERT INTO portfolio_valuation_jobs (job_id, positions, epochs, first_dates,
                   last_dates, trigger_ids, first_date, last_date, valued_through, attempt_count,
                   lane, status, term, task_id, is_open, finished_at, moment_id, rows_written)
               SELECT 0, positions[:1], epochs[:1], first_dates[:1], last_dates[:1],
                   trigger_ids[:1], first_date, last_date, valued_through, 1, lane, status, term,
                   0, false, finished_at, moment_id, 1
               FROM portfolio_valuation_jobs""",
            "2 jobs have 51 spans of 50 positions",
        ),
    ):
        async with rolled_back(database) as wrong, wrong.connection() as connection:
            await connection.execute(damage)
            with pytest.raises(BenchmarkFailedError, match=told):
                await scheduler_limit.require_valued(wrong, 50)


async def test_reads_of_a_lake_are_measured_before_and_after_maintenance(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the number of rows that each reader has to return; the lake is removed at the end."""
    monkeypatch.setattr("revalue.engine.read.both_stores._SUMMED_ROWS", 1)  # a month at once
    found = await lake_reads.measure(
        database, Settings.model_validate({}), tmp_path, positions=100, dates=30
    )
    assert found.rows == 3_000
    assert (found.files["as written"] > 0, found.files["merged"] > 0) == (True, True)
    assert set(found.milliseconds) == {"total", "day", "history", "page"}
    for name, readers in found.milliseconds.items():
        assert all(set(times) == {"as written", "merged"} for times in readers.values())
        files_alone = set() if name == "total" else {"files alone"}
        assert set(readers) == {"engine", "SQL"} | files_alone
    assert not os.listdir(tmp_path)
