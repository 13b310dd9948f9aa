"""The harness runs and verifies what it measures; its times are nobody's business here."""

import os
import subprocess
import sys


def test_a_tiny_backfill_is_verified_beside_its_peers(url: str) -> None:
    command = "bench backfill --keys 40 --dates 10 --runs 1 --peers ceiling,sql,per-job".split()
    run = subprocess.run(
        [sys.executable, "-m", "console.cli", *command],
        env={**os.environ, "REVALUE_DATABASE_URL": url, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert all(peer in run.stdout for peer in ("sql", "ceiling", "per-job"))
    assert " 400 " in run.stdout
