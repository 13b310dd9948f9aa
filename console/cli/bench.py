"""`revalue bench`: measure workloads, print tables, write JSON."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import ExitStack
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
    from revalue.benchmarks.demo import DemoOutcome
    from revalue.benchmarks.harness import Outcome
    from revalue.benchmarks.idle import IdleOutcome
    from revalue.benchmarks.load import LoadOutcome
    from revalue.benchmarks.scheduler_limit import SchedulerLimitOutcome
    from revalue.benchmarks.small import SmallOutcome
    from revalue.benchmarks.year import YearOutcome
    from revalue.engine.postgres.database import Database

    AnyOutcome = (
        Outcome
        | YearOutcome
        | IdleOutcome
        | SmallOutcome
        | DemoOutcome
        | LoadOutcome
        | SchedulerLimitOutcome
    )

_ALONE = ("year", "idle", "small-correction", "demo", "load", "scheduler-limit")
_WORKLOADS = "backfill, roll, correction-day, correction-history, fx, storm, late, " + ", ".join(
    _ALONE
)
_OWN_SERVER = {"small-correction", "demo"}
_POSITIONS = 4_000
_DATES = 250
_SHOWN_BYTES = 100_000  # the many tables of a few rows say nothing
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
    done: list[AnyOutcome] = []
    interrupted = False
    try:
        _run(
            settings,
            workloads,
            done,
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
    done: "list[AnyOutcome]",
    *,
    positions: int | None,
    dates: int | None,
    seconds: int,
    prices: int,
    records: int,
    runs: int,
    warm_up: bool,
    baselines: tuple[str, ...],
    row_us: float,
    task_ms: float,
) -> None:
    """Run the workloads one after another; append each outcome to `done`."""
    from revalue.actors import cluster
    from revalue.benchmarks import demo, harness, idle, load, scheduler_limit, small, year

    known = (*harness.WORKLOADS, *_ALONE)
    if unknown := [name for name in workloads if name not in known]:
        raise UsageError(f"no workload {unknown[0]!r}: one of {', '.join(known)}")
    url = "" if set(workloads) <= _OWN_SERVER else database_url(settings)

    async def measure_year(database: "Database") -> "YearOutcome":
        return await year.measure(
            database,
            settings,
            positions=positions or year.POSITIONS,
            days=dates or year.DAYS,
            say=err.print,
        )

    async def measure_idle(database: "Database") -> "IdleOutcome":
        return await idle.measure(
            database,
            positions=positions or idle.POSITIONS,
            dates=dates or idle.DATES,
            seconds=seconds,
            actors=settings.actors,
            runtime="ray" if settings.runtime == "auto" else settings.runtime,
            say=err.print,
        )

    async def measure_scheduler_limit(database: "Database") -> "SchedulerLimitOutcome":
        return await scheduler_limit.measure(
            database,
            settings,
            positions=positions or scheduler_limit.POSITIONS,
            actors=settings.actors or scheduler_limit.ACTORS,
            row_us=row_us,
            task_ms=task_ms,
            say=err.print,
        )

    with ExitStack() as on_ray:
        for workload in workloads:
            if workload == "scheduler-limit":
                done.append(asyncio.run(harness.on_fresh_database(url, measure_scheduler_limit)))
                continue
            if workload == "load":
                done += load.measure(
                    url,
                    prices=prices,
                    records=records,
                    dates=dates or load.DATES,
                    say=err.print,
                )
                continue
            if workload == "idle":
                on_ray.close()  # it has a Ray of its own
                done.append(asyncio.run(harness.on_fresh_database(url, measure_idle)))
                continue
            if workload == "small-correction":
                on_ray.close()
                measured = small.measure(
                    positions=positions or small.POSITIONS,
                    dates=dates or small.DATES,
                    runs=runs,
                    warm_up=warm_up,
                    say=err.print,
                )
                done.append(measured)
                continue
            if workload == "demo":
                on_ray.close()
                done.append(demo.measure(runs=runs, say=err.print))
                continue
            on_ray.enter_context(cluster.connected(settings))  # which one workload leaves the next
            if workload == "year":
                done.append(asyncio.run(harness.on_fresh_database(url, measure_year)))
                continue
            work = harness.run(
                url,
                workload,
                positions=positions or _POSITIONS,
                dates=dates or _DATES,
                runs=runs,
                warm_up=warm_up,
                baselines=baselines,
                settings=settings,
                say=err.print,
            )
            outcome = asyncio.run(work)
            done.append(outcome)
            if outcome.interrupted:
                raise KeyboardInterrupt


def _print(outcomes: "list[AnyOutcome]") -> None:
    from revalue.benchmarks.demo import DemoOutcome
    from revalue.benchmarks.harness import Outcome
    from revalue.benchmarks.idle import IdleOutcome
    from revalue.benchmarks.load import LoadOutcome
    from revalue.benchmarks.scheduler_limit import SchedulerLimitOutcome
    from revalue.benchmarks.small import SmallOutcome
    from revalue.benchmarks.year import YearOutcome

    if done := [each for each in outcomes if isinstance(each, Outcome)]:
        _print_runs(done)
    if loads := [each for each in outcomes if isinstance(each, LoadOutcome)]:
        _print_loads(loads)
    for each in outcomes:
        if isinstance(each, YearOutcome):
            _print_year(each)
        elif isinstance(each, SchedulerLimitOutcome):
            out.print(_describe_limit(each))
        elif isinstance(each, SmallOutcome):
            print_table(
                f"One corrected price, {each.rows:,} of {each.positions:,} positions: seconds of "
                "`revalue value`",
                ("runtime", "median", "all"),
                [
                    (name, f"{each.median_seconds[name]:.2f}", ", ".join(map(str, found)))
                    for name, found in each.seconds.items()
                ],
            )
        elif isinstance(each, DemoOutcome):
            out.print(
                f"demo, {counted(each.rows, 'position-day')}: {each.median_seconds:.1f} s from an "
                f"empty data folder to the picture (all: {', '.join(map(str, each.seconds))})"
            )
        elif isinstance(each, IdleOutcome):
            out.print(
                f"idle, {each.positions:,} positions: {each.total_cpu_per_minute:.2f} CPU seconds "
                f"a minute ({_listed(each.cpu_per_minute)}); "
                f"{counted(each.wal_bytes, 'byte')} of WAL in {each.seconds:g} s; largest process "
                f"in MiB: {_listed(each.peak_anonymous_mib)}"
            )


def _describe_limit(limit: "SchedulerLimitOutcome") -> str:
    cpu = {"scheduler": limit.scheduler_cpu_seconds, **limit.postgresql_cpu_seconds}
    return (
        f"scheduler-limit, one new day of {limit.positions:,} positions, {limit.actors:,} waiting "
        f"actors: {limit.seconds:.2f} s, {limit.positions / limit.seconds:,.0f} positions/s in "
        f"{counted(limit.tasks, 'task')}; seconds by step: {_listed(limit.step_seconds)}; "
        f"CPU seconds: {_listed(cpu)}; WAL: {limit.wal_bytes / limit.positions:,.0f} bytes per "
        f"position; of the actors {limit.valuing:.1f} were valuing on average, "
        f"{limit.committing:.1f} committing, the others waited for work; largest process in MiB: "
        f"scheduler {limit.peak_anonymous_mib}; verified {limit.verified}"
    )


def _print_loads(loads: "list[LoadOutcome]") -> None:
    print_table(
        "Loads of a file, the first one and the same again",
        (
            "what",
            "file",
            "rows",
            "load",
            "s",
            "rows/s",
            "PostgreSQL us per row",
            "client us per row",
            "WAL bytes per row",
            "client MiB, before",
            "PostgreSQL MiB",
        ),
        [
            (
                each.what,
                each.file,
                each.rows,
                name,
                f"{cost['seconds']:.2f}",
                cost["rows_per_second"],
                f"{cost['postgresql_us']:.2f}",
                f"{cost['client_us']:.2f}",
                f"{cost['wal_bytes']:,.0f}",
                f"{cost['client_mib']:,}, {cost['client_mib_before']:,}",
                cost["postgresql_mib"],
            )
            for each in loads
            for name, cost in (("first", each.first), ("again", each.again))
        ],
    )


def _print_year(year: "YearOutcome") -> None:
    print_table(
        f"A year of {year.dates} days with {year.positions:,} positions",
        ("table", "rows", "table MB", "indexes MB"),
        [
            (
                name,
                size["rows"],
                f"{size['table_bytes'] / 1e6:,.1f}",
                f"{size['index_bytes'] / 1e6:,.1f}",
            )
            for name, size in year.sizes.items()
            if size["table_bytes"] + size["index_bytes"] >= _SHOWN_BYTES
        ],
    )
    assert year.first is not None
    assert year.last is not None
    print_table(
        f"The mean of the first and of the last {counted(year.compared_days, 'day')}",
        ("days", "seconds", "PostgreSQL CPU s", "WAL MB"),
        [
            (
                name,
                f"{days.seconds:.3f}",
                f"{days.postgresql_cpu_seconds:.3f}",
                f"{days.wal_bytes / 1e6:,.1f}",
            )
            for name, days in (("first", year.first), ("last", year.last))
        ],
    )
    out.print(
        f"year: {year.seconds:,.1f} s, the last days {year.last.seconds / year.first.seconds:.2f} "
        f"times the first; {counted(year.rows, 'row')} written, {year.rows_due:,} were due; all "
        f"other tables take {year.others_per_snapshot_byte:.2f} bytes for one byte of snapshots; "
        f"largest process in MiB: {_listed(year.peak_anonymous_mib)}; verified {year.verified}"
    )


def _print_runs(done: "list[Outcome]") -> None:
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
                f"{outcome.median_seconds:.2f}",
                int(outcome.rows_per_second),
                f"{outcome.spread:.0%}" if len(outcome.seconds) > 1 else "single run",
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
        for name, notes in outcome.baseline_notes.items():
            out.print(f"{name}: {', '.join(f'{what} {found}' for what, found in notes.items())}")


def _describe_cost(outcome: "Outcome") -> str:
    rows, cpu = max(outcome.rows, 1), outcome.cost["cpu_seconds"]
    kept = (
        f"kept for ever: {sum(outcome.kept.values()) / outcome.kept_rows:,.0f} bytes per row; "
        if outcome.kept_rows
        else ""
    )
    return (
        f"{outcome.workload}, in the run of {outcome.median_seconds:.2f} s: "
        f"{counted(outcome.jobs, 'span')}, {_describe_sent(outcome)}; "
        f"CPU seconds: {_listed(cpu)}; "
        f"of PostgreSQL {cpu.get('postgresql', 0) / rows * 1e6:.1f} us per row; "
        f"largest process in MiB: {_listed(outcome.cost['peak_anonymous_mib'])}; "
        f"WAL: {outcome.cost['wal_bytes'] / rows:,.0f} bytes per row; {kept}"
        f"seconds by phase: {_listed(outcome.phases)}; "
        f"verified {outcome.verified}"
    )


def _describe_sent(outcome: "Outcome") -> str:
    sent, name = outcome.server_statements, "SQL statement"
    if sent is None:
        sent, name = outcome.statements, "named SQL statement"
    return f"{counted(sent, name)} ({sent / max(outcome.rows, 1) * 1000:.1f} per 1,000 rows)"


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {figure:,}" for name, figure in figures.items()) or "none"
