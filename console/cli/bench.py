"""`revalue bench`: runs workloads, prints one table, writes JSON."""

import asyncio
import json
import statistics
from dataclasses import asdict
from pathlib import Path

from revalue.actors import cluster
from revalue.benchmarks import harness
from revalue.console.cli.output import err, out, print_table
from revalue.engine.settings import Settings


def run_benchmarks(
    settings: Settings,
    url: str,
    workloads: list[str],
    *,
    positions: int,
    dates: int,
    runs: int,
    peers: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Runs them one after the other on one local Ray; what was measured is printed on Ctrl-C too, which is then raised."""
    done: list[harness.Outcome] = []
    interrupted = False
    with cluster.connected(settings):
        try:
            for workload in workloads:
                work = harness.run(
                    url,
                    workload,
                    positions=positions,
                    dates=dates,
                    runs=runs,
                    wanted=peers,
                    settings=settings,
                    say=err.print,
                )
                done.append(asyncio.run(work))
                if done[-1].interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
            err.print("this is what was measured before the interruption:")
    _print(done)
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(outcome) for outcome in done], indent=2) + "\n")
    if interrupted:
        raise KeyboardInterrupt


def _print(done: list[harness.Outcome]) -> None:
    columns = ("workload", "positions", "dates", "actors", "rows", "median s", "rows/s", "spread")
    medians = [f"{statistics.median(o.seconds):.2f}" for o in done]
    print_table(
        "Engine, from committed input to every position current",
        columns,
        [
            (
                o.workload,
                o.positions,
                o.dates,
                o.actors,
                o.rows,
                median,
                int(o.rows_per_second),
                f"{o.spread:.0%}",
            )
            for o, median in zip(done, medians, strict=True)
        ],
    )
    rows = [
        (o.workload, name, int(rate), f"{o.ratios[name]:.2f}")
        for o in done
        for name, rate in o.baselines.items()
    ]
    if rows:
        print_table("Peers, in the same run", ("workload", "peer", "rows/s", "engine / peer"), rows)
    for o in done:
        wal = o.cost["wal_bytes"] / o.rows if o.rows else 0
        out.print(
            f"{o.workload}: {o.jobs:,} jobs, {o.statements:,} SQL statements "
            f"({o.statements / max(o.rows, 1) * 1000:.1f} for 1,000 position-days), CPU seconds {o.cost['cpu_seconds']}, "
            f"largest process in MiB {o.cost['peak_mib']}, WAL {wal:,.0f} bytes a row, seconds by phase {o.phases}; "
            f"verified {o.verified}"
        )
