"""The benchmark harness runs and verifies its workloads. Its times are not tested here."""

import os
import re
import signal
import subprocess
import sys

import asyncpg


def _bench(url: str, arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "revalue", "bench", "--yes", *arguments.split()],
        env={**os.environ, "REVALUE_DATABASE_URL": url, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_tiny_backfill_is_verified_next_to_its_baselines(url: str) -> None:
    said = _bench(
        url, "backfill --positions 40 --dates 10 --runs 1 --baselines ceiling,sql,per-job,duckdb"
    )
    assert all(
        baseline in said
        for baseline in ("sql", "ceiling", "per-job", "duckdb, computing", "duckdb, and COPY")
    )
    assert " 400 " in said


def test_each_workload_restates_what_it_affects_and_is_verified(url: str) -> None:
    # 40 positions of one security, half of them in EUR; 10 dates
    rows = {
        "roll": 40,
        "correction-day": 40,
        "correction-history": 400,
        "fx": 20,
        "storm": 40,
        "late": 40,
    }
    said = _bench(url, f"{' '.join(rows)} --positions 40 --dates 10 --runs 1")
    for workload, revalued in rows.items():
        assert re.search(rf"│ {workload} +│ +40 │ +10 │ +2 │ +{revalued} │", said), said
        assert re.search(rf"^{workload}: .* verified \d+ rows", said, re.MULTILINE), said


async def test_ctrl_c_prints_what_was_measured_and_leaves_no_database(url: str) -> None:
    """Ctrl-C after two measured runs: they are in the table; the exit code is 130."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "revalue",
            "bench",
            "--yes",
            *"backfill --positions 40 --dates 10 --runs 1000".split(),
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
        "SELECT count(*) FROM pg_database WHERE datname = 'revalue_bench'"
    )
    await connection.close()
    assert left == 0
