"""The harness runs and verifies what it measures; its times are nobody's business here."""

import os
import subprocess
import sys

import pytest


def _bench(url: str, arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "console.cli", "bench", *arguments.split()],
        env={**os.environ, "REVALUE_DATABASE_URL": url, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_tiny_backfill_is_verified_beside_its_peers(url: str) -> None:
    said = _bench(url, "backfill --keys 40 --dates 10 --runs 1 --peers ceiling,sql,per-job,duckdb")
    assert all(peer in said for peer in ("sql", "ceiling", "per-job", "duckdb, computing", "duckdb, and COPY"))
    assert " 400 " in said


@pytest.mark.parametrize(
    ("workload", "rows"),
    # 40 keys of one security, half of them in EUR; 10 dates
    [("roll", 40), ("correction-day", 40), ("correction-history", 400), ("fx", 20), ("storm", 40), ("late", 40)],
)
def test_each_workload_revalues_what_it_reaches_and_is_verified(url: str, workload: str, rows: int) -> None:
    assert f" {rows} " in _bench(url, f"{workload} --keys 40 --dates 10 --runs 1").split("verified")[0]
