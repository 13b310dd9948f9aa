"""The demo as a newcomer runs it: from an empty data folder to the picture.

`revalue demo` is timed as a process of its own. Its environment can be installed for it, in a clone
of this repository, as `make demo` does: how long that takes depends on the package index and the
network, so it is told apart from the demo's own time.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from revalue.benchmarks.harness import BenchmarkFailedError
from revalue.benchmarks.small import own_environment
from revalue.engine.postgres import embedded

_REPOSITORY = Path(__file__).resolve().parents[1]  # through the link in the package


@dataclass(frozen=True)
class Environment:
    """The environment of `make demo`.

    Attributes:
        python: its interpreter.
        seconds: how long its installation took.
        disk_bytes: what it takes on the disk.
    """

    python: Path
    seconds: float
    disk_bytes: int


@dataclass
class DemoOutcome:
    """What was measured.

    Attributes:
        rows: position-days of the sample book.
        seconds: of each run, from the start of the command to its end, when the picture is there.
        median_seconds: of these.
        install_seconds: how long the installation of its environment took; None: it was given.
        environment_bytes: what that environment takes on the disk; None: it was given.
    """

    workload: str
    rows: int = 0
    seconds: list[float] = field(default_factory=list)
    median_seconds: float = 0.0
    install_seconds: float | None = None
    environment_bytes: int | None = None


def measure(
    *,
    runs: int,
    say: Callable[[str], None],
    python: Path = Path(sys.executable),
    installs: bool = False,
) -> DemoOutcome:
    """Run the demo, each time in an empty data folder.

    Args:
        runs: number of runs. None is dropped: a newcomer's is the first one.
        say: is called with each line of progress.
        python: the interpreter that runs it.
        installs: install an environment for it first, and run it there.

    Raises:
        BenchmarkFailedError: the demo, or the installation, has failed.
    """
    outcome = DemoOutcome("demo")
    with tempfile.TemporaryDirectory(prefix="revalue-bench-") as folder:
        if installs:
            installed = install(Path(folder))
            python = installed.python
            outcome.install_seconds = round(installed.seconds, 1)
            outcome.environment_bytes = installed.disk_bytes
            say(
                f"demo: its environment was installed in {installed.seconds:.0f} s, "
                f"{installed.disk_bytes / 1e6:,.0f} MB"
            )
        for number in range(1, runs + 1):
            data_dir = Path(folder) / f"run-{number}"
            data_dir.mkdir()
            try:
                seconds, outcome.rows = _run(python, data_dir)
            finally:
                embedded.stop(data_dir)
            outcome.seconds.append(round(seconds, 1))
            say(f"demo run {number}: {seconds:.1f} s")
    outcome.median_seconds = round(statistics.median(outcome.seconds), 1)
    return outcome


def install(folder: Path) -> Environment:
    """Clone what is committed of this repository, and install there what `make demo` does.

    Raises:
        BenchmarkFailedError: the revalue that runs is not in a clone, or the installation failed.
    """
    clone = folder / "clone"
    _ran("git", "clone", "--quiet", str(_REPOSITORY), str(clone))
    begun = perf_counter()
    _ran("make", "--directory", str(clone), f"PYTHON={sys.executable}", ".venv/installed")
    seconds = perf_counter() - begun
    environment = clone / ".venv"
    return Environment(environment / "bin" / "python", seconds, disk_bytes(environment))


def disk_bytes(folder: Path) -> int:
    """Return what a folder takes on the disk, as `du` counts it: a file of two names once."""
    found = [path.lstat() for path in (folder, *folder.rglob("*"))]
    return sum({(each.st_dev, each.st_ino): each.st_blocks * 512 for each in found}.values())


def _run(python: Path, data_dir: Path) -> tuple[float, int]:
    """Run the demo; return its seconds and the position-days that it has valued."""
    begun = perf_counter()
    said = _ran(
        *(str(python), "-m", "revalue", "demo", "--folder", str(data_dir), "--json"),
        environment=own_environment(data_dir),
    )
    seconds = perf_counter() - begun
    result = json.loads(said)
    if not Path(result["chart"]).is_file():
        raise BenchmarkFailedError(f"the demo has ended without its picture: {result['chart']}")
    return seconds, int(result["position_days"])


def _ran(*command: str, environment: dict[str, str] | None = None) -> str:
    """Run a program; return its standard output."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchmarkFailedError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        raise BenchmarkFailedError(
            f"`{' '.join(command)}` has ended with {done.returncode}: {done.stderr[-2000:]}"
        )
    return done.stdout
