"""`revalue bench`: measure workloads."""

import asyncio
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.bench_output import print_outcomes
from revalue.console.cli.connection import database_url
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import err, print_json
from revalue.engine.errors import UsageError
from revalue.engine.settings import Settings

if TYPE_CHECKING:
    from revalue.benchmarks.demo import DemoOutcome
    from revalue.benchmarks.harness import Outcome
    from revalue.benchmarks.idle import IdleOutcome
    from revalue.benchmarks.load import LoadOutcome
    from revalue.benchmarks.scheduler_limit import SchedulerLimitOutcome
    from revalue.benchmarks.small import SmallOutcome
    from revalue.benchmarks.year import YearOutcome
    from revalue.console.cli.bench_output import AnyOutcome
    from revalue.engine.postgres.database import Database

_ALONE = ("year", "idle", "small-correction", "demo", "load", "scheduler-limit")
_WORKLOADS = "backfill, roll, correction-day, correction-history, fx, storm, late, " + ", ".join(
    _ALONE
)
_WITHOUT_RAY = {"scheduler-limit", "load"}
_WITHOUT_OUR_RAY = {"idle", "small-correction", "demo"}
"""What these run starts a Ray of its own, if it needs one."""
_POSITIONS = 4_000
_DATES = 250
_BASELINES = "upper-bound, sql, duckdb, per-job; of correction-day also pathway"


def bench(
    ctx: typer.Context,
    workloads: Annotated[
        list[str],
        typer.Argument(metavar="WORKLOAD", help=f"One or more of {_WORKLOADS}."),
    ],
    positions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of positions. Default: 4,000; of year 20,000, of idle and "
            "small-correction 89,000, of scheduler-limit 1,000,000.",
        ),
    ] = None,
    dates: Annotated[
        int | None,
        typer.Option(
            min=2, help="Number of business days. Default: 250; of idle and small-correction 2."
        ),
    ] = None,
    seconds: Annotated[int, typer.Option(min=1, help="How long idle looks on.")] = 120,
    prices: Annotated[
        int, typer.Option(min=1, help="Number of prices that load loads; --dates of each security.")
    ] = 2_000_000,
    records: Annotated[
        int, typer.Option(min=1, help="Number of position records that load loads.")
    ] = 250_000,
    runs: Annotated[
        int, typer.Option(min=1, help="Number of measured runs, after one warm-up run.")
    ] = 3,
    warm_up: Annotated[
        bool,
        typer.Option("--warm-up/--no-warm-up", help="Make a first run that is not measured."),
    ] = True,
    baselines: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help=f"Compare with these, separated by commas: {_BASELINES}."
        ),
    ] = "",
    actors: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of valuation actors; without it one per CPU, and of scheduler-limit 400.",
        ),
    ] = None,
    row_us: Annotated[
        float,
        typer.Option(min=0, help="Microseconds per row that an actor of scheduler-limit waits."),
    ] = 1.4,
    task_ms: Annotated[
        float,
        typer.Option(min=0, help="Milliseconds per task that it waits besides."),
    ] = 50.0,
    json_path: Annotated[
        Path | None,
        typer.Option("--json-file", metavar="FILE", help="Write the figures to this file, too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the engine, and alternatives to it, in a new database on the same server.

    The workload year lives through days one after another, idle looks at a scheduler that has
    nothing to do, and load loads files: these are single runs without baselines. small-correction
    times the command `revalue value` after one corrected price, with and without Ray, and demo
    times `revalue demo` in an empty data folder; both have servers of their own. scheduler-limit
    opens one day for the scheduler and actors that only wait, without Ray; ten million positions
    take 10 GB of the server's disk.

    Each other run makes a database `revalue_bench_...` and drops it at its end. No other database
    is touched.
    """
    settings = CliContext.of(ctx).settings.model_copy(update={"actors": actors} if actors else {})
    given = _Bench(
        settings=settings,
        positions=positions,
        dates=dates,
        seconds=seconds,
        prices=prices,
        records=records,
        runs=runs,
        warm_up=warm_up,
        baselines=tuple(name.strip() for name in baselines.split(",") if name.strip()),
        row_us=row_us,
        task_ms=task_ms,
    )
    done: list[AnyOutcome] = []
    interrupted = False
    try:
        _run(given, workloads, done)
    except KeyboardInterrupt:
        interrupted = True
        err.print("results that were measured before the interruption:")
    if as_json:
        print_json(done)
    else:
        print_outcomes(done)
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(outcome) for outcome in done], indent=2) + "\n")
    if interrupted:
        raise KeyboardInterrupt


@dataclass(frozen=True)
class _Bench:
    """Measures workloads; each method measures one of those that run alone.

    An option that is None has another default in each workload. `bench` describes the options.
    """

    settings: Settings
    positions: int | None
    dates: int | None
    seconds: int
    prices: int
    records: int
    runs: int
    warm_up: bool
    baselines: tuple[str, ...]
    row_us: float
    task_ms: float

    @cached_property
    def url(self) -> str:
        """The address of the server, which is started for the first workload that needs it."""
        return database_url(self.settings)

    def year(self) -> "YearOutcome":
        from revalue.benchmarks import harness, year

        async def measure(database: "Database") -> "YearOutcome":
            return await year.measure(
                database,
                self.settings,
                positions=self.positions or year.POSITIONS,
                days=self.dates or year.DAYS,
                say=err.print,
            )

        return asyncio.run(harness.on_fresh_database(self.url, measure))

    def idle(self) -> "IdleOutcome":
        from revalue.benchmarks import harness, idle

        async def measure(database: "Database") -> "IdleOutcome":
            return await idle.measure(
                database,
                positions=self.positions or idle.POSITIONS,
                dates=self.dates or idle.DATES,
                seconds=self.seconds,
                actors=self.settings.actors,
                runtime="ray" if self.settings.runtime == "auto" else self.settings.runtime,
                say=err.print,
            )

        return asyncio.run(harness.on_fresh_database(self.url, measure))

    def scheduler_limit(self) -> "SchedulerLimitOutcome":
        from revalue.benchmarks import harness, scheduler_limit

        async def measure(database: "Database") -> "SchedulerLimitOutcome":
            return await scheduler_limit.measure(
                database,
                self.settings,
                positions=self.positions or scheduler_limit.POSITIONS,
                actors=self.settings.actors or scheduler_limit.ACTORS,
                row_us=self.row_us,
                task_ms=self.task_ms,
                say=err.print,
            )

        return asyncio.run(harness.on_fresh_database(self.url, measure))

    def load(self) -> "list[LoadOutcome]":
        from revalue.benchmarks import load

        return load.measure(
            self.url,
            prices=self.prices,
            records=self.records,
            dates=self.dates or load.DATES,
            say=err.print,
        )

    def small_correction(self) -> "SmallOutcome":
        from revalue.benchmarks import small

        return small.measure(
            positions=self.positions or small.POSITIONS,
            dates=self.dates or small.DATES,
            runs=self.runs,
            warm_up=self.warm_up,
            say=err.print,
        )

    def demo(self) -> "DemoOutcome":
        from revalue.benchmarks import demo

        return demo.measure(runs=self.runs, say=err.print)

    def engine(self, workload: str) -> "Outcome":
        """Measure a workload of the harness, on the Ray that this process is connected to."""
        from revalue.benchmarks import harness

        return asyncio.run(
            harness.run(
                self.url,
                workload,
                positions=self.positions or _POSITIONS,
                dates=self.dates or _DATES,
                runs=self.runs,
                warm_up=self.warm_up,
                baselines=self.baselines,
                settings=self.settings,
                say=err.print,
            )
        )


def _require_known(workloads: list[str]) -> None:
    from revalue.benchmarks import harness

    known = (*harness.WORKLOADS, *_ALONE)
    if unknown := [name for name in workloads if name not in known]:
        raise UsageError(f"no workload {unknown[0]!r}: one of {', '.join(known)}")


def _run(given: _Bench, workloads: list[str], done: "list[AnyOutcome]") -> None:
    """Run the workloads one after another; append each outcome to `done`."""
    from revalue.actors import cluster

    _require_known(workloads)
    with ExitStack() as on_ray:
        for workload in workloads:
            if workload in _WITHOUT_OUR_RAY:
                on_ray.close()
            elif workload not in _WITHOUT_RAY:
                # Kept for the next workload: to start a Ray takes seconds.
                on_ray.enter_context(cluster.connected(given.settings))
            match workload:
                case "scheduler-limit":
                    done.append(given.scheduler_limit())
                case "load":
                    done += given.load()
                case "idle":
                    done.append(given.idle())
                case "small-correction":
                    done.append(given.small_correction())
                case "demo":
                    done.append(given.demo())
                case "year":
                    done.append(given.year())
                case _:
                    outcome = given.engine(workload)
                    done.append(outcome)
                    if outcome.interrupted:
                        raise KeyboardInterrupt
