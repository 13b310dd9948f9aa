"""What a scheduler costs that has nothing to do: CPU of all processes, over some seconds.

The scheduler is `revalue value --watch`, as a service runs it: a process of its own, with its own
Ray or, with `--runtime local`, without one. Its whole tree and the whole PostgreSQL server are
counted, and nothing is asked of either while they are measured. Nothing else may use the server
meanwhile.

`python -m revalue.benchmarks.idle ACTORS` is what it is compared with: a Ray with as many processes
that are told nothing.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from time import perf_counter

import ray

from revalue.actors import cluster
from revalue.benchmarks.cost import Meter
from revalue.benchmarks.dataset import make_book
from revalue.benchmarks.harness import BenchmarkFailedError
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

POSITIONS = 89_000
DATES = 2
SECONDS = 120
_SETTLE_SECONDS = 30
_STOP_SECONDS = 60
_LEFT = "SELECT count(*) FROM position_status WHERE state <> 'CURRENT'"


@dataclass
class IdleOutcome:
    """What was measured. It is one run.

    Attributes:
        runtime: `ray` or `local`.
        seconds: how long it was measured.
        cpu_per_minute: CPU seconds in a minute, by kind of process, as benchmarks.cost.Cost has
            them; `client` is the command.
        total_cpu_per_minute: of all of them.
        wal_bytes: written to PostgreSQL's log meanwhile.
        peak_anonymous_mib: the largest process of each kind at the end.
    """

    workload: str
    positions: int
    dates: int
    runtime: str = "ray"
    seconds: float = 0.0
    cpu_per_minute: dict[str, float] = field(default_factory=dict)
    total_cpu_per_minute: float = 0.0
    wal_bytes: int = 0
    peak_anonymous_mib: dict[str, int] = field(default_factory=dict)


async def measure(
    database: Database,
    *,
    positions: int,
    seconds: float,
    say: Callable[[str], None],
    dates: int = DATES,
    actors: int | None = None,
    runtime: str = "ray",
) -> IdleOutcome:
    """Value a book, wait until the machine has settled, and look on for `seconds`.

    Raises:
        BenchmarkFailedError: the command has ended, or a position is not current.
    """
    settle_seconds = min(_SETTLE_SECONDS, seconds)
    await make_book(database, positions=positions, dates=dates)
    arguments = ["--runtime", runtime]
    if actors is not None:
        arguments += ["--actors", str(actors)]
    async with _running(database.url, ["revalue", "value", "--watch", *arguments]) as command:
        while await _left(database):
            if command.poll() is not None:
                raise BenchmarkFailedError(f"value --watch has ended with {command.returncode}")
            await asyncio.sleep(1)
        say(f"  … {positions:,} positions are valued; settling for {settle_seconds:g} s")
        async with database.connection() as connection:
            await connection.execute("VACUUM ANALYZE")  # or autovacuum does, when it likes to
            await connection.execute("CHECKPOINT")
        outcome = await _look_on(database, command, seconds, settle_seconds)
    if left := await _left(database):
        raise BenchmarkFailedError(f"{left} positions are not current: it was not idle")
    return replace(outcome, positions=positions, dates=dates, runtime=runtime)


async def measure_ray_alone(
    database: Database, *, actors: int, seconds: float, say: Callable[[str], None]
) -> IdleOutcome:
    """Look at a Ray with the processes of a scheduler and its actors, which do nothing.

    PostgreSQL, of which it uses nothing, is left out.
    """
    command_line = ["revalue.benchmarks.idle", str(actors)]
    async with _running(database.url, command_line, is_heard=True) as command:
        assert command.stdout is not None
        if not await asyncio.to_thread(command.stdout.readline):
            raise BenchmarkFailedError("Ray alone cannot be started")
        say("  … Ray alone: settling")
        outcome = await _look_on(database, command, seconds, min(_SETTLE_SECONDS, seconds))
    used = {kind: cpu for kind, cpu in outcome.cpu_per_minute.items() if kind != "postgresql"}
    return replace(
        outcome,
        workload="ray alone",
        cpu_per_minute=used,
        total_cpu_per_minute=round(sum(used.values()), 3),
        wal_bytes=0,
    )


async def _look_on(
    database: Database, command: subprocess.Popen[bytes], seconds: float, settle_seconds: float
) -> IdleOutcome:
    await asyncio.sleep(settle_seconds)
    meter = Meter(command.pid)
    await meter.start(database)
    begun = perf_counter()
    await asyncio.sleep(seconds)
    spent = perf_counter() - begun
    cost = await meter.stop(database)
    if command.poll() is not None:
        raise BenchmarkFailedError(f"the command has ended with {command.returncode}")
    minute = {kind: cpu / spent * 60 for kind, cpu in cost.cpu_seconds.items()}
    return IdleOutcome(
        "idle",
        0,
        0,
        seconds=round(spent, 1),
        cpu_per_minute={kind: round(cpu, 3) for kind, cpu in minute.items()},
        total_cpu_per_minute=round(sum(minute.values()), 3),
        wal_bytes=cost.wal_bytes,
        peak_anonymous_mib=cost.peak_anonymous_mib,
    )


async def _left(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(_LEFT))


@asynccontextmanager
async def _running(
    url: str, module: list[str], *, is_heard: bool = False
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run `python -m` for the block, and stop it as Ctrl-C does."""
    command = _start(url, module, subprocess.PIPE if is_heard else subprocess.DEVNULL)
    try:
        yield command
    finally:
        if command.poll() is None:
            command.send_signal(signal.SIGINT)
            try:
                await asyncio.to_thread(command.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                command.kill()
                await asyncio.to_thread(command.wait)


def _start(url: str, module: list[str], stdout: int) -> subprocess.Popen[bytes]:
    """Start it on a Ray of its own: of another one the processes are not known."""
    environment = {
        name: text
        for name, text in os.environ.items()
        if name not in ("RAY_ADDRESS", "REVALUE_RAY_ADDRESS")
    }
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        env={**environment, "REVALUE_DATABASE_URL": url},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C at the terminal ends the measurement, which then ends it
    )


class ValuationActor:
    """It has the name by which the meter knows a process."""

    def ping(self) -> None:
        """Return, which shows that the process is there."""


class ValuationScheduler:
    """The same, with the event loop that the scheduler has."""

    async def ping(self) -> None:
        """Return, which shows that the process is there."""


def main() -> None:
    """Start a Ray, and one process more than actors, as the live lane has one; then wait."""
    actors = int(sys.argv[1])
    with cluster.connected(Settings.model_validate({"actors": actors})):
        kinds = [ValuationScheduler, *[ValuationActor] * (actors + 1)]
        handles = [ray.remote(kind).options(num_cpus=0).remote() for kind in kinds]
        ray.get([handle.ping.remote() for handle in handles])
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
