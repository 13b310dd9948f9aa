"""Every script in examples/ runs by itself, as it stands; each asserts its own numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def test_there_are_examples_and_each_is_named_on_their_page() -> None:
    page = (ROOT / "examples/README.md").read_text()
    assert len(SCRIPTS) >= 3
    assert all(name in page for name in SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs_as_it_stands(script: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "it prints what it shows"
