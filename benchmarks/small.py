"""A small correction, from prompt to prompt: one price of a large book, and `revalue value`.

The command is timed as a process of its own, from its start to its end, once in the process itself
and once on a Ray that it starts, in turn. The embedded server is one of its own, in a temporary
folder, so that the command can also be timed with the start of the server.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from revalue.benchmarks.dataset import make_book
from revalue.benchmarks.harness import BenchmarkFailedError
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database

POSITIONS, DATES = 89_000, 2
_PORTFOLIOS = 200
_CORRECTION = """UPDATE market_prices SET price = price + 1 WHERE security_id = 'S000001'
                 AND price_date = (SELECT min(business_date) FROM business_dates)"""
_STARTED = "local, and the server starts"


@dataclass
class SmallOutcome:
    """What was measured.

    Attributes:
        rows: position-days that one correction restates.
        seconds: of each run, by runtime; also with the start of the embedded server.
        median_seconds: of these.
    """

    workload: str
    positions: int
    dates: int
    rows: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    median_seconds: dict[str, float] = field(default_factory=dict)


def measure(
    *,
    positions: int,
    dates: int,
    runs: int,
    say: Callable[[str], None],
    warm_up: bool = True,
    runtimes: Sequence[str] = ("local", "ray"),
) -> SmallOutcome:
    """Value a book, and time corrections of it.

    Args:
        positions: number of positions.
        dates: number of business days.
        runs: number of measured runs of each runtime.
        say: is called with each line of progress.
        warm_up: whether to make first runs that are dropped.
        runtimes: which are measured; `local` with the start of the server, too.

    Raises:
        BenchmarkFailedError: the command has failed.
    """
    outcome = SmallOutcome("small-correction", positions, dates, min(_PORTFOLIOS, positions))
    folder = Path(tempfile.mkdtemp(prefix="revalue-bench-"))
    try:
        asyncio.run(_prepare(folder, positions, dates))
        _run(folder, "local")
        asyncio.run(_vacuum(folder))
        for number in range(0 if warm_up else 1, runs + 1):
            for runtime in runtimes:
                asyncio.run(_correct(folder))
                _note(outcome, runtime, _run(folder, runtime), number, say)
            asyncio.run(_correct(folder))
            if not embedded.stop(folder):
                raise BenchmarkFailedError("the embedded server had ended before")
            _note(outcome, _STARTED, _run(folder, "local"), number, say)
    finally:
        embedded.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)
    outcome.median_seconds = {
        name: round(statistics.median(found), 2) for name, found in outcome.seconds.items()
    }
    return outcome


def own_environment(data_dir: Path) -> dict[str, str]:
    """Return the environment of a command that works with the embedded server of this folder."""
    others = ("RAY_ADDRESS", "REVALUE_RAY_ADDRESS", "REVALUE_DATABASE_URL", "REVALUE_BOOK")
    own = {name: text for name, text in os.environ.items() if name not in others}
    return {**own, "REVALUE_DATA_DIR": str(data_dir)}


def _note(
    outcome: SmallOutcome, name: str, seconds: float, number: int, say: Callable[[str], None]
) -> None:
    run = f"run {number}" if number else "warm-up"
    say(f"small-correction {run}, {name}: {seconds:.2f} s")
    if number:
        outcome.seconds.setdefault(name, []).append(round(seconds, 3))


def _run(folder: Path, runtime: str) -> float:
    """Run `revalue value`; return the seconds from its start to its end."""
    begun = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "revalue", "value", "--runtime", runtime],
        env=own_environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = perf_counter() - begun
    if done.returncode:
        raise BenchmarkFailedError(f"revalue value has ended with {done.returncode}: {done.stderr}")
    return seconds


async def _prepare(folder: Path, positions: int, dates: int) -> None:
    url = embedded.start(folder)
    await schema.migrate(url)
    async with await Database.open(url) as database:
        await make_book(database, positions=positions, dates=dates, holders=_PORTFOLIOS)


async def _vacuum(folder: Path) -> None:
    async with (
        await Database.open(embedded.start(folder)) as database,
        database.connection() as connection,
    ):
        await connection.execute("VACUUM ANALYZE")  # or autovacuum does, when it likes to


async def _correct(folder: Path) -> None:
    async with (
        await Database.open(embedded.start(folder)) as database,
        database.connection() as connection,
    ):
        await connection.execute(_CORRECTION)
