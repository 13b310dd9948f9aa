"""`revalue bench`: measure workloads, print tables, write JSON."""

import asyncio
import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.connection import database_url
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, err, out, print_json, print_table
from revalue.engine.errors import UsageError
from revalue.engine.settings import Settings

if TYPE_CHECKING:
    from revalue.benchmarks.harness import Outcome

_WORKLOADS = "backfill, roll, correction-day, correction-history, fx, storm, late"
_BASELINES = "upper-bound, sql, duckdb, per-job"


def bench(
    ctx: typer.Context,
    workloads: Annotated[
        list[str],
        typer.Argument(metavar="WORKLOAD", help=f"One or more of {_WORKLOADS}."),
    ],
    positions: Annotated[int, typer.Option(min=1, help="Number of positions.")] = 4_000,
    dates: Annotated[int, typer.Option(min=2, help="Number of business days.")] = 250,
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
        int | None, typer.Option(min=1, help="Number of valuation actors; without it one per CPU.")
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option("--json-file", metavar="FILE", help="Write the figures to this file, too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the engine, and alternatives to it, in a new database on the same server.

    Each run makes a database `revalue_bench_...` and drops it at its end; no other is touched.
    """
    settings = CliContext.of(ctx).settings.model_copy(update={"actors": actors} if actors else {})
    done: list[Outcome] = []
    interrupted = False
    try:
        _run(
            settings,
            workloads,
            done,
            positions=positions,
            dates=dates,
            runs=runs,
            warm_up=warm_up,
            baselines=tuple(name.strip() for name in baselines.split(",") if name.strip()),
        )
    except KeyboardInterrupt:
        interrupted = True
        err.print("results that were measured before the interruption:")
    if as_json:
        print_json(done)
    else:
        _print(done)
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(outcome) for outcome in done], indent=2) + "\n")
    if interrupted:
        raise KeyboardInterrupt


def _run(
    settings: Settings,
    workloads: list[str],
    done: "list[Outcome]",
    *,
    positions: int,
    dates: int,
    runs: int,
    warm_up: bool,
    baselines: tuple[str, ...],
) -> None:
    """Run the workloads one after another on one local Ray; append each outcome to `done`."""
    from revalue.actors import cluster
    from revalue.benchmarks import harness

    if unknown := [name for name in workloads if name not in harness.WORKLOADS]:
        raise UsageError(f"no workload {unknown[0]!r}: one of {', '.join(harness.WORKLOADS)}")
    with cluster.connected(settings):
        for workload in workloads:
            work = harness.run(
                database_url(settings),
                workload,
                positions=positions,
                dates=dates,
                runs=runs,
                warm_up=warm_up,
                baselines=baselines,
                settings=settings,
                say=err.print,
            )
            done.append(asyncio.run(work))
            if done[-1].interrupted:
                raise KeyboardInterrupt


def _print(done: "list[Outcome]") -> None:
    columns = ("workload", "positions", "dates", "actors", "rows", "median s", "rows/s", "spread")
    print_table(
        "Engine, from committed input until every position is current",
        columns,
        [
            (
                outcome.workload,
                outcome.positions,
                outcome.dates,
                outcome.actors,
                outcome.rows,
                f"{statistics.median(outcome.seconds):.2f}",
                int(outcome.rows_per_second),
                f"{outcome.spread:.0%}",
            )
            for outcome in done
        ],
    )
    rows = [
        (outcome.workload, name, int(rate), f"{outcome.ratios[name]:.2f}")
        for outcome in done
        for name, rate in outcome.baselines.items()
    ]
    if rows:
        print_table(
            "Baselines, in the same run",
            ("workload", "baseline", "rows/s", "engine / baseline"),
            rows,
        )
    for outcome in done:
        out.print(_describe_cost(outcome))


def _describe_cost(outcome: "Outcome") -> str:
    statements = outcome.statements / max(outcome.rows, 1) * 1000
    wal = outcome.cost["wal_bytes"] / outcome.rows if outcome.rows else 0
    return (
        f"{outcome.workload}: {counted(outcome.jobs, 'job')}, "
        f"{counted(outcome.statements, 'SQL statement')} "
        f"({statements:.1f} per 1,000 position-days); "
        f"CPU seconds: {_listed(outcome.cost['cpu_seconds'])}; "
        f"largest process in MiB: {_listed(outcome.cost['peak_mib'])}; "
        f"WAL: {wal:,.0f} bytes per row; seconds by phase: {_listed(outcome.phases)}; "
        f"verified {outcome.verified}"
    )


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure:,}" for name, figure in figures.items()) or "none"
