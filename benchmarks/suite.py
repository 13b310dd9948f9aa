"""python -m revalue.benchmarks.suite: every measurement of docs/performance.md.

Each is written to benchmarks/records as soon as it is made. --small uses sizes that take a minute
or two, to try it out; its records are too small for the page.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from revalue.actors import cluster
from revalue.benchmarks import (
    baseline_pathway,
    demo,
    harness,
    herd,
    idle,
    lake_reads,
    load,
    position_cost,
    preview,
    profile_task,
    reads,
    scan,
    scheduler_limit,
    small,
    table_variants,
    year,
)
from revalue.engine.errors import RevalueError
from revalue.engine.postgres import embedded
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

RECORDS = Path(__file__).parent / "records"
ALL_BASELINES = ("upper-bound", "sql", "duckdb", "per-job")


def say(text: str) -> None:
    """Write a line of progress to standard error."""
    sys.stderr.write(f"{text}\n")


def _machine() -> dict[str, Any]:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "loop_seconds": _loop_seconds(),
    }


def _when() -> dict[str, Any]:
    """Return the day, and how fast the machine was just after a measurement."""
    machine = _machine()
    kept = {name: machine[name] for name in ("cpu", "loop_seconds")}
    return {"date": date.today().isoformat(), **kept}


def _loop_seconds() -> float:
    """Time ten million iterations of a plain loop.

    Machines of one name differ by a factor of three, and one machine from hour to hour.
    """
    begun, total = perf_counter(), 0
    for number in range(10_000_000):
        total += number * number
    return round(perf_counter() - begun, 2)


class Suite:
    """The measurements, by name."""

    def __init__(self, folder: Path, *, small: bool, runs: int) -> None:
        self._folder = folder
        self._small = small
        self._runs = runs
        self._settings = Settings.model_validate({})
        self._url = embedded.address(self._settings)

    def run(self, names: list[str]) -> int:
        """Run the named measurements, or all; return how many failed. The others are kept."""
        measurements: dict[str, Callable[[], Any]] = {
            "machine": _machine,
            "backfill": self._backfill,
            "workloads": self._workloads,
            "million": self._million,
            "year": self._year,
            "idle": self._idle,
            "small_correction": self._small_correction,
            "demo": self._demo,
            "load": self._load,
            "table_variants": self._table_variants,
            "position_cost": self._position_cost,
            "scan": self._scan,
            "reads": self._reads,
            "pool": self._pool,
            "herd": self._herd,
            "preview": self._preview,
            "profile": self._profile,
            "growth": self._growth,
            "scheduler_limit": self._scheduler_limit,
            "lake": self._lake,
            "lake_reads": self._lake_reads,
        }
        failed = 0
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in names or measurements:
            begun = perf_counter()
            try:
                record = measurements[name]()
            except (RevalueError, AssertionError) as error:
                failed += 1
                say(f"{name} failed: {error}")
                continue
            self._write(name, record)
            self._write("measured", self._measured() | {name: _when()})
            say(f"{name}: {perf_counter() - begun:.0f} s")
        return failed

    def _write(self, name: str, record: Any) -> None:
        (self._folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")

    def _measured(self) -> dict[str, Any]:
        """Return when and on what each record was made."""
        file = self._folder / "measured.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def _outcome(
        self,
        workload: str,
        positions: int,
        dates: int,
        runs: int,
        baselines: tuple[str, ...] = (),
        **more: Any,
    ) -> dict[str, Any]:
        settings = self._settings.model_copy(
            update={
                "actors": more.pop("actors", None) or os.cpu_count(),
                "lake": more.pop("lake", None),
            }
        )
        with cluster.connected(settings):
            work = harness.run(
                self._url,
                workload,
                positions=positions,
                dates=dates,
                runs=runs,
                baselines=baselines,
                settings=settings,
                say=say,
                **more,
            )
            outcome = asyncio.run(work)
        if outcome.interrupted:  # half of a measurement is not recorded
            raise KeyboardInterrupt
        return asdict(outcome)

    def _backfill(self) -> Any:
        positions, dates = (200, 20) if self._small else (4_000, 250)
        return self._outcome("backfill", positions, dates, self._runs, ALL_BASELINES)

    def _workloads(self) -> Any:
        """Run three workloads on 100,000 positions, and the others on fewer, to save time."""
        many, few, dates, runs = (
            (1_000, 500, 4, 1) if self._small else (100_000, 20_000, 10, self._runs)
        )
        found = [self._outcome(name, many, dates, runs) for name in ("backfill", "roll")]
        pathway = ("pathway",) if baseline_pathway.is_installed() else ()
        found.append(self._outcome("correction-day", many, dates, runs, pathway))
        found += [self._outcome(name, few, dates, runs) for name in ("fx", "storm", "late")]
        return [*found, self._outcome("correction-history", many // 100, dates * 25, runs)]

    def _million(self) -> Any:
        """Single runs: each takes minutes to prepare."""
        positions = 2_000 if self._small else 1_000_000
        return [
            self._outcome(name, positions, 2, 1, warm_up=False)
            for name in ("correction-day", "roll")
        ]

    def _year(self) -> Any:
        positions, days = (200, 4) if self._small else (year.POSITIONS, year.DAYS)
        with cluster.connected(self._settings):
            return asdict(
                self._on_a_database(
                    lambda database: year.measure(
                        database, self._settings, positions=positions, days=days, say=say
                    )
                )
            )

    def _idle(self) -> Any:
        sizes, seconds = ((200,), 5) if self._small else ((idle.POSITIONS, 1_000_000), idle.SECONDS)
        measurements: list[Callable[[Database], Awaitable[Any]]] = [
            partial(idle.measure, positions=positions, seconds=seconds, runtime=runtime, say=say)
            for runtime in ("ray", "local")
            for positions in sizes
        ]
        actors = self._settings.actors or os.cpu_count() or 1
        measurements.append(
            partial(idle.measure_ray_alone, actors=actors, seconds=seconds, say=say)
        )
        return [asdict(self._on_a_database(measure)) for measure in measurements]

    def _small_correction(self) -> Any:
        positions, runs = (200, 1) if self._small else (small.POSITIONS, 5)
        return asdict(small.measure(positions=positions, dates=small.DATES, runs=runs, say=say))

    def _demo(self) -> Any:
        """Install what `make demo` does, and run it there; the sample book has one size only."""
        return asdict(demo.measure(runs=1 if self._small else self._runs, say=say, installs=True))

    def _load(self) -> Any:
        prices, records = (5_000, 2_000) if self._small else (10_000_000, 1_000_000)
        found = load.measure(self._url, prices=prices, records=records, dates=load.DATES, say=say)
        return [asdict(each) for each in found]

    def _pool(self) -> Any:
        positions, dates = (200, 20) if self._small else (4_000, 250)
        return [
            self._outcome("backfill", positions, dates, 2, actors=actors) for actors in (1, 2, 4)
        ]

    def _growth(self) -> Any:
        max_positions, max_dates = (4_000, 40) if self._small else (1_000_000, 2_500)
        points = [
            (positions, 2)
            for positions in (1_000, 10_000, 100_000, 1_000_000)
            if positions <= max_positions
        ]
        points += [(1_000, dates) for dates in (1, 10, 100, 1_000, 2_500) if dates <= max_dates]
        return [
            self._outcome("backfill", positions, dates, 1, warm_up=False)
            for positions, dates in points
        ]

    def _table_variants(self) -> Any:
        positions, dates = (200, 20) if self._small else (4_000, 250)
        return self._on_a_database(
            lambda database: table_variants.measure(database, positions, dates)
        )

    def _position_cost(self) -> Any:
        positions, dates = (
            (1_000, 4) if self._small else (position_cost.POSITIONS, position_cost.DATES)
        )
        return self._on_a_database(
            lambda database: position_cost.measure(database, positions, dates)
        )

    def _scan(self) -> Any:
        return self._on_a_database(
            lambda database: scan.measure(database, 10_000 if self._small else 1_000_000)
        )

    def _scheduler_limit(self) -> Any:
        """Single runs; the largest book takes 10 GB, and minutes to make."""
        sizes, actors = (
            ((2_000,), 10) if self._small else (scheduler_limit.SIZES, scheduler_limit.ACTORS)
        )
        return [
            asdict(
                self._on_a_database(
                    partial(
                        scheduler_limit.measure,
                        settings=self._settings,
                        positions=positions,
                        actors=actors,
                        say=say,
                    )
                )
            )
            for positions in sizes
        ]

    def _lake(self) -> Any:
        """The backfill into the table and into a lake, by one, two and four actors."""
        positions, dates = (200, 20) if self._small else (4_000, 250)
        found = []
        with TemporaryDirectory(dir=self._settings.data_dir) as folder:
            for actors in (1, 2, 4):
                bound = ("upper-bound",) if actors == 2 else ()
                for lake, baselines in ((None, bound), (folder, ())):
                    found.append(
                        self._outcome(
                            "backfill",
                            positions,
                            dates,
                            self._runs,
                            baselines,
                            actors=actors,
                            lake=lake,
                        )
                    )
        return found

    def _lake_reads(self) -> Any:
        positions, dates = (200, 300) if self._small else (lake_reads.POSITIONS, lake_reads.DATES)
        with TemporaryDirectory(dir=self._settings.data_dir) as folder:
            return asdict(
                self._on_a_database(
                    lambda database: lake_reads.measure(
                        database,
                        self._settings,
                        Path(folder),
                        positions=positions,
                        dates=dates,
                        say=say,
                    )
                )
            )

    def _reads(self) -> Any:
        positions, runs, run = (5_000, 20, 500) if self._small else (1_000_000, 200, 50_000)
        return self._on_a_database(
            lambda database: reads.measure(database, self._settings, positions, runs, run)
        )

    def _profile(self) -> Any:
        sizes = ((50, 20), (200, 20)) if self._small else ((200, 250), (800, 250))
        # The first in a process includes imports and caches: it is made twice, and dropped once.
        found = [
            self._on_a_database(partial(profile_task.measure, positions=positions, dates=dates))
            for positions, dates in (sizes[0], *sizes)
        ]
        return found[1:]

    def _herd(self) -> Any:
        positions, dates = (2_000, 5) if self._small else (100_000, 20)
        with cluster.connected(self._settings):
            return self._on_a_database(
                lambda database: herd.measure(database, self._settings, positions, dates)
            )

    def _preview(self) -> Any:
        positions, dates = (2_000, 10) if self._small else (80_000, 100)
        with cluster.connected(self._settings):
            return self._on_a_database(
                lambda database: preview.measure(database, self._settings, positions, dates)
            )

    def _on_a_database(self, measure: Callable[[Database], Awaitable[Any]]) -> Any:
        return asyncio.run(harness.on_fresh_database(self._url, measure))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--small", action="store_true")
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of each workload, after one that is dropped"
    )
    parser.add_argument("--records", type=Path, default=RECORDS)
    given = parser.parse_args()
    try:
        sys.exit(
            1 if Suite(given.records, small=given.small, runs=given.runs).run(given.names) else 0
        )
    except KeyboardInterrupt:
        say(f"interrupted: what was measured is in {given.records}")
        sys.exit(130)


if __name__ == "__main__":
    main()
