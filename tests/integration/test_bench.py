"""The benchmark harness runs and verifies its workloads. Its times are not tested here."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from revalue.benchmarks import demo, harness, load, small
from revalue.benchmarks.dataset import make_book
from revalue.benchmarks.harness import BenchmarkFailedError, Outcome
from revalue.console.cli import bench
from revalue.console.cli.main import app
from revalue.engine.errors import AccessDeniedError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import engine, execute, fetch

pytestmark = pytest.mark.slow


def _bench(url: str, arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "revalue", "bench", *arguments.split()],
        env={**os.environ, "REVALUE_DATABASE_URL": url, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


async def test_a_user_who_may_create_no_database_is_told_so(url: str) -> None:
    owner = await asyncpg.connect(url)
    await owner.execute("CREATE ROLE test_bench_reader LOGIN")
    try:
        with pytest.raises(AccessDeniedError, match="Give the address of a user with CREATEDB"):
            async with harness.fresh_database(url.replace("//postgres:", "//test_bench_reader:")):
                pass
    finally:
        await owner.execute("DROP ROLE test_bench_reader")
        await owner.close()


def test_a_tiny_backfill_is_verified_next_to_its_baselines(url: str) -> None:
    said = _bench(
        url,
        "backfill --positions 40 --dates 10 --runs 1 --actors 2 "
        "--baselines upper-bound,sql,per-job,duckdb",
    )
    assert all(
        baseline in said
        for baseline in (
            "sql, 1 connection",
            "sql, 2 connections",
            "upper-bound, 1 connection",
            "upper-bound, 2 connections",
            "per-job",
            "duckdb, computing",
            "duckdb, and COPY",
        )
    )
    assert "single run" in said
    # As the server counts them: the engine's own statements are not even half of them.
    sent = re.search(r"40 spans, (\d+) SQL statements", said)
    assert sent is not None, said
    assert 50 < int(sent[1]) < 1000
    assert " 400 " in said
    for kind in ("actors", "scheduler", "postgresql"):
        assert re.search(rf"CPU seconds: .*{kind} \d+\.\d.*largest process.*{kind} \d+", said), said


# 40 positions of one security, half of them in EUR; 10 dates
RUN = {"correction-day": 40, "late": 40}
GIVEN = {"roll": 40, "correction-history": 400, "fx": 20, "storm": 40}


def test_workloads_restate_what_they_affect_and_are_verified(url: str) -> None:
    """By the command, on Ray: those that the harness treats in ways of their own."""
    options = "--positions 40 --dates 10 --runs 1 --no-warm-up --actors 1 --seconds 1"
    said = _bench(url, f"{' '.join(RUN)} year idle {options}")
    assert "warm-up" not in said
    for workload, revalued in RUN.items():
        assert re.search(rf"│ {workload} +│ +40 │ +10 │ +1 │ +{revalued} │", said), said
        assert re.search(rf"^{workload}, .* verified \d+ rows", said, re.MULTILINE), said
    assert re.search(r"^correction-day, .* kept for ever: \d+ bytes per row", said, re.MULTILINE), (
        said
    )
    # ten days after the first, all positions, 20 of them corrected twice a day, and in EUR once
    assert re.search(r"^year: .* 820 were due; .* verified 440 rows", said, re.MULTILINE), said
    assert re.search(
        r"^idle, 40 positions: \d+\.\d+ CPU seconds a minute \(.*postgresql", said, re.M
    )


@pytest.mark.parametrize(("workload", "revalued"), GIVEN.items())
async def test_the_input_of_each_other_workload_restates_what_it_affects(
    url: str, database: Database, workload: str, revalued: int
) -> None:
    """In this process: one run by the command takes ten times as long, and is the same for all."""
    stored = "SELECT count(*) FROM daily_position_snapshots"
    await make_book(database, positions=40, dates=10)
    async with engine(url) as running:
        await running.settle()
        [(before,)] = await fetch(database, stored)
        await execute(database, harness.WORKLOADS[workload].format(middle=5))
        await running.settle()
    [(after,)] = await fetch(database, stored)
    assert (before, after - before) == (400, revalued)
    seen = 440 if workload == "roll" else 400
    assert (await harness.verify(database)).startswith(f"{seen} rows, digest ")


def test_each_workload_is_tested() -> None:
    assert {"backfill", *RUN, *GIVEN} == set(harness.WORKLOADS)


def test_a_small_correction_is_timed_with_and_without_the_start_of_the_server() -> None:
    said: list[str] = []
    done = small.measure(
        positions=400, dates=2, runs=1, say=said.append, warm_up=False, runtimes=["local"]
    )
    assert (done.positions, done.rows, len(said)) == (400, 200, 2)
    assert (
        set(done.seconds) == set(done.median_seconds) == {"local", "local, and the server starts"}
    )
    assert all(0.1 < found < 30 for [found] in done.seconds.values())


def interpreter(folder: Path, script: str) -> Path:
    """What is run in place of Python: the demo itself takes too long for a test."""
    path = folder / "python"
    path.write_text(f"#!/bin/bash\nset -e\n{script}\n")
    path.chmod(0o755)
    return path


DRAWS = """
[ "$*" = "-m revalue demo --folder $REVALUE_DATA_DIR --json" ]
[ -z "$(ls $REVALUE_DATA_DIR)" ]
[ -z "$REVALUE_DATABASE_URL" ]
touch $REVALUE_DATA_DIR/picture.png
echo '{"position_days": 12, "chart": "'$REVALUE_DATA_DIR'/picture.png"}'
"""


def test_the_demo_is_timed_in_an_empty_folder_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REVALUE_DATABASE_URL", "postgresql://elsewhere/book")
    said: list[str] = []
    python = interpreter(tmp_path, DRAWS)
    done = demo.measure(runs=2, say=said.append, python=python)
    assert (done.rows, len(done.seconds), len(said)) == (12, 2, 2)
    assert min(done.seconds) <= done.median_seconds <= max(done.seconds)
    assert (done.install_seconds, done.environment_bytes) == (None, None)
    assert (demo._REPOSITORY / "pyproject.toml").is_file(), "what is cloned to be installed"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no room left >&2; exit 3", "has ended with 3: no room left"),
        ('echo \'{"position_days": 12, "chart": "/nowhere.png"}\'', "without its picture"),
    ],
)
def test_a_demo_that_fails_is_no_measurement(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(BenchmarkFailedError, match=words):
        demo.measure(runs=1, say=print, python=interpreter(tmp_path, script))


def test_a_folder_is_as_large_as_du_says(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_bytes(b"x" * 123_456)
    (tmp_path / "other name").hardlink_to(tmp_path / "inside" / "file")
    (tmp_path / "link").symlink_to("inside")
    told = subprocess.run(
        ["du", "--summarize", "--block-size=1", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert demo.disk_bytes(tmp_path) == int(told.stdout.split()[0]) > 123_456


async def test_ctrl_c_prints_what_was_measured_and_leaves_no_database(url: str) -> None:
    """Ctrl-C after two measured runs: they are in the table; the exit code is 130."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "revalue",
            "bench",
            *"backfill --positions 40 --dates 10 --runs 1000 --no-warm-up --actors 1".split(),
        ],
        env={**os.environ, "REVALUE_DATABASE_URL": url, "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "run 2" in line:
                process.send_signal(signal.SIGINT)
                break
        said, complaints = process.communicate(timeout=60)
    assert process.returncode == 130, complaints
    assert "before the interruption" in complaints
    assert "backfill" in said
    assert "verified 400 rows" in said
    connection = await asyncpg.connect(url)
    left = await connection.fetchval(
        "SELECT count(*) FROM pg_database WHERE datname LIKE 'revalue_bench%'"
    )
    await connection.close()
    assert left == 0


def test_the_figures_are_printed_as_a_table_or_as_json_and_written_to_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcome = Outcome("backfill", 40, 10, 2, 400, [0.5, 0.4], 800, 0.2)
    outcome.baselines, outcome.ratios = {"sql": 1600}, {"sql": 0.5}
    outcome.median_seconds = 0.5
    outcome.cost = {
        "cpu_seconds": {"actors": 1.5, "postgresql": 0.008},
        "peak_anonymous_mib": {"actors": 300},
        "wal_bytes": 80000,
    }
    outcome.kept, outcome.kept_rows = {"daily_position_snapshots": 8000, "jobs": 400}, 40
    outcome.phases, outcome.jobs, outcome.statements = {"compute": 0.25}, 40, 1
    outcome.verified = "400 rows"

    def measured(settings: object, workloads: object, done: list[Outcome], **_: object) -> None:
        done.append(outcome)

    monkeypatch.setattr(bench, "_run", measured)
    file = tmp_path / "figures.json"
    words = ["bench", "backfill", "--json-file", str(file)]
    figures = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert figures == json.loads(file.read_text()) == [asdict(outcome)]
    said = CliRunner().invoke(app, words).stdout
    assert re.search(r"│ backfill │ sql +│ +1,600 │ +0\.50 +│", said), said
    assert said.endswith(
        "backfill, in the run of 0.50 s: 40 spans, 1 named SQL statement (2.5 per 1,000 rows); "
        "CPU seconds: actors 1.5, postgresql 0.008; of PostgreSQL 20.0 us per row; "
        "largest process in MiB: actors 300; WAL: 200 bytes per row; "
        "kept for ever: 210 bytes per row; "
        "seconds by phase: compute 0.25; verified 400 rows\n"
    )


def test_pathway_is_a_baseline_of_one_workload_and_has_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REVALUE_BENCH_PATHWAY", str(tmp_path / "python"))
    for workload, words in (
        ("roll", "the baseline pathway is one of correction-day only"),
        ("correction-day", "`make pathway` installs it"),
    ):
        run = harness.run(
            "",
            workload,
            positions=1,
            dates=2,
            runs=1,
            baselines=("pathway",),
            settings=Settings.model_validate({}),
            say=print,
        )
        with pytest.raises(UsageError, match=words):
            asyncio.run(run)


def test_a_file_is_loaded_twice_and_its_cost_is_told_per_row(url: str) -> None:
    said: list[str] = []
    # So many rows that they cost more than 10 ms, what CPU is counted in.
    outcome = load.measure_records(url, 20_000, 5, "csv", say=said.append)
    assert (outcome.what, outcome.rows) == ("records, 5 per position", 20_000)
    assert outcome.first["rows_per_second"] > outcome.first["postgresql_us"] > 0
    assert outcome.first["client_mib"] >= outcome.first["client_mib_before"] > 20
    assert outcome.first["postgresql_mib"] > 0
    assert said[0].startswith("load records, 5 per position from csv: 20,000 rows in ")
