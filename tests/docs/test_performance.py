"""The page of performance is what its records say."""

from dataclasses import asdict
from pathlib import Path

from revalue.benchmarks.demo import DemoOutcome
from revalue.benchmarks.idle import IdleOutcome
from revalue.benchmarks.lake_reads import LakeReadsOutcome
from revalue.benchmarks.report.charts import draw
from revalue.benchmarks.report.page import page, read
from revalue.benchmarks.scheduler_limit import SchedulerLimitOutcome
from revalue.benchmarks.small import SmallOutcome
from revalue.benchmarks.year import Days, YearOutcome

ROOT = Path(__file__).parents[2]
RECORDS = read(ROOT / "benchmarks" / "records")
THERE = {"cpu": RECORDS["machine_of_targets"]["cpu"]}
# As if they were made on the machine on which the targets were set.
OF_TARGETS = {**RECORDS, "machine": {**RECORDS["machine"], **THERE}}


def test_no_number_of_the_page_was_typed() -> None:
    assert (ROOT / "docs" / "performance.md").read_text() == page(RECORDS)


def test_the_pictures_are_drawn_from_the_same_records(tmp_path: Path) -> None:
    draw(RECORDS, tmp_path)
    shown = {path.name for path in (ROOT / "docs" / "performance").iterdir()}
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_size > 5_000} == shown


def test_what_was_not_measured_has_no_section() -> None:
    optional = (
        "year",
        "idle",
        "million",
        "herd",
        "small_correction",
        "demo",
        "scheduler_limit",
        "lake",
        "lake_reads",
    )
    text = page({name: record for name, record in RECORDS.items() if name not in optional})
    assert "## The pool" in text
    assert "## A year" not in text
    assert "## An idle scheduler" not in text
    assert "## A small correction" not in text
    assert "## The demo" not in text
    assert "## The scheduler alone" not in text
    assert "## The lake" not in text
    assert "## Reads of a lake" not in text
    assert "constants above; nothing was run" in text


def test_times_of_a_slower_machine_are_estimated_for_that_of_the_targets() -> None:
    small = {**RECORDS["small_correction"]}
    small["median_seconds"] = {**small["median_seconds"], "local": 2.0}
    backfill = {**RECORDS["backfill"]}
    backfill["baselines"] = {
        name: rate / 2 for name, rate in RECORDS["machine_of_targets"]["baselines"].items()
    } | {"duckdb, and COPY": 1}
    slower = {**RECORDS, "backfill": backfill, "small_correction": small}
    slower["machine"] = {**RECORDS["machine"], "cpu": "slow"}
    text = page(slower)
    assert "prompt to prompt | 1.5 s or less | 2 s | 1 s | **not met** |" in text
    assert "| `sql, 2 connections`, rows/s |" in text
    there = page({**slower, "machine": OF_TARGETS["machine"]})
    assert "prompt to prompt | 1.5 s or less | 2 s | **not met** |" in there
    assert "times slower here" not in there


def test_records_of_another_machine_are_named() -> None:
    here = {"cpu": RECORDS["machine"]["cpu"]}
    measured = dict.fromkeys(RECORDS, here)
    assert "of another machine:" not in page({**RECORDS, "measured": measured})
    there = {**measured, "pool": {"cpu": "another"}}
    del there["scan"]
    text = page({**RECORDS, "measured": there})
    assert "are older than the others, and of another machine: `pool`, `scan`." in text


def test_the_lake_is_shown_with_its_targets() -> None:
    def run(store: str, speed: int, postgresql: float, wal: int) -> dict[str, object]:
        return {
            "actors": 2,
            "rows": 1_000_000,
            "rows_per_second": speed,
            "baselines": {"upper-bound, 2 connections": 500_000} if store == "table" else {},
            "cost": {
                "cpu_seconds": {"postgresql": postgresql, "scheduler": 0.2, "actors": 1.5},
                "wal_bytes": wal,
            },
            "lake": None
            if store == "table"
            else {"files": 20, "rows": 1_000_000, "bytes": 30_500_000},
        }

    runs = [run("lake", 900_000, 0.4, 4_000_000), run("table", 400_000, 1.6, 200_000_000)]
    text = page({**OF_TARGETS, "lake": runs})
    assert "| table | 2 | 400,000 | 1.60 | 0.20 | 1.50 | 200 |  |" in text
    assert "| lake | 2 | 900,000 | 0.40 | 0.20 | 1.50 | 4 | 30.5 |" in text
    assert "with a lake against `upper-bound, 2 connections` | 1.6 | 1.80 | met |" in text
    assert "the same against the table, in the same minutes | 1.7 | 2.25 | met |" in text
    assert "PostgreSQL CPU a row | 0.35 µs or less | 0.4 µs | **not met** |" in text
    assert "the same, kept a row | 35 B or less | 30.5 B | met |" in text
    # 2.1 µs of all processes: two cores make 952,381 rows/s, and the bound is 500,000
    assert "spend 2.1 µs of CPU on a row of the lake: 2 cores that never rest" in text
    assert "would make 952,381 rows/s, 1.9 times what two connections could send" in text
    assert "PostgreSQL's part is 0.4 µs, where the table takes 1.6:" in text


def test_reads_of_a_lake_are_shown_with_what_was_asked() -> None:
    times = {
        name: {
            "engine": {"as written": 1_200.5, "merged": 30.0},
            "SQL": {"as written": 20.0, "merged": 9.5},
        }
        for name in ("total", "day", "history", "page")
    }
    outcome = LakeReadsOutcome(
        4_000, 2_500, 10_000_000, {"as written": 200, "merged": 119}, 250_000_000
    )
    outcome.milliseconds = outcome.cpu_milliseconds = times
    text = page({**OF_TARGETS, "lake_reads": asdict(outcome)})
    assert "10,000,000 position-days of 4,000 positions over 2,500 dates" in text
    assert "200 as the tasks wrote them, then 119 after" in text
    assert "| all positions of one date | 15 | engine | 1,200.5 | 30.0 | 30.0 |" in text
    assert "| one position, 250 dates | 10 | SQL | 20.0 | 9.5 | 9.5 |" in text


def test_a_small_correction_is_shown_with_its_target() -> None:
    small = SmallOutcome("small-correction", 89_000, 2, 200)
    small.seconds = {"local": [0.9, 0.84, 1.2], "ray": [11.0]}
    small.median_seconds = {"local": 0.9, "ray": 11.0}
    text = page({**OF_TARGETS, "small_correction": asdict(small)})
    assert "| local | 0.90 | 0.84 | 1.20 |" in text
    assert "| ray | 11.00 | 11.00 | 11.00 |" in text
    assert "from prompt to prompt | 1.5 s or less | 0.9 s | met |" in text


def test_the_demo_is_shown_with_the_size_of_its_environment() -> None:
    outcome = DemoOutcome("demo", 2_993_026, [61.5, 58.0, 64.0], 61.5, 48.2, 878_000_000)
    text = page({**OF_TARGETS, "demo": asdict(outcome)})
    assert "to its picture | 100 s or less | 61.5 s | met |" in text
    assert "environment of `make demo` | 900 MB or less | 878 MB | met |" in text
    assert "2,993,026 position-days: 61.5 s (the median of 61.5, 58.0, 64.0)" in text
    assert "takes 878 MB of the disk. Its installation took 48 s" in text
    given = DemoOutcome("demo", 2_993_026, [161.5], 161.5)
    text = page({**OF_TARGETS, "demo": asdict(given)})
    assert "to its picture | 100 s or less | 161.5 s | **not met** |" in text
    assert "environment of `make demo`" not in text


def test_a_year_and_an_idle_scheduler_are_shown_with_their_targets() -> None:
    year = YearOutcome("year", 20_000, 250, 2, rows=5_600_000, rows_due=5_500_000)
    year.compared_days = 20
    year.first, year.last = Days(1.0, 0.5, 4_000_000, 40.0), Days(1.2, 0.75, 5_000_000, 44.0)
    year.sizes = {
        "daily_position_snapshots": {
            "table_bytes": 800_000_000,
            "index_bytes": 200_000_000,
            "rows": 1,
        },
        "jobs": {"table_bytes": 90_000_000, "index_bytes": 10_000_000, "rows": 2},
        "small": {"table_bytes": 8192, "index_bytes": 8192, "rows": 3},
    }
    year.others_per_snapshot_byte = 0.1
    spent = {"ray": 0.1, "postgresql": 0.2}
    idle = IdleOutcome("idle", 89_000, 2, "ray", 120.0, spent, 0.3, 800)
    local = IdleOutcome("idle", 89_000, 2, "local", 120.0, {"client": 0.15}, 0.15, 800)
    alone = IdleOutcome("ray alone", 0, 0, "ray", 120.0, {"ray": 0.1}, 0.1, 0)
    idles = [asdict(each) for each in (idle, local, alone)]
    text = page({**OF_TARGETS, "year": asdict(year), "idle": idles})
    assert "The last days take 1.20 times as long as the first, and 1.50 times PostgreSQL" in text
    assert "5,600,000 position-days were written, 5,500,000 were due. The other 100,000 are" in text
    assert "| `jobs` | 2 | 90.0 | 10.0 | 0.100 |" in text
    assert "`small`" not in text
    assert "| last 20 days | 1.200 | 0.750 | 5.0 | 44.0 |" in text
    assert "a plain loop before each day | 1.1 or less | 1.091 | met |" in text
    assert "| 89,000 | ray | 0.30 | 0.20 | 0.00 | 0.00 | 0.10 | 0.00 | 800 | 120 |" in text
    assert "|  | ray alone | 0.10 |" in text
    assert "above that of Ray alone | 0.2 s or less | 0.2 s | met |" in text
    assert "first | 1.1 or less | 1.2 | **not met** |" in text
    assert "for one byte of snapshots | 0.15 or less | 0.1 | met |" in text
    assert "ray, CPU a minute, all processes | 0.2 s or less | 0.3 s | **not met** |" in text
    assert "local, CPU a minute, all processes | 0.2 s or less | 0.15 s | met |" in text


def test_pathway_is_shown_beside_the_engine() -> None:
    workloads = [
        {
            **record,
            "baseline_notes": {
                "pathway": {
                    "version": "0.33.0",
                    "seconds": 2.4,
                    "cpu_seconds": 2.5,
                    "build_seconds": 28.0,
                    "peak_mib": 2100,
                }
            },
        }
        if record["workload"] == "correction-day"
        else record
        for record in RECORDS["workloads"]
    ]
    text = page({**OF_TARGETS, "workloads": workloads})
    assert "| Pathway, in memory | 2.40 | 2.50 | 2,100 | 28.0 |" in text


def test_the_estimate_is_made_of_the_scheduler_as_it_was_measured() -> None:
    limit = SchedulerLimitOutcome("scheduler-limit", 5_000_000, 400, 1.4, 50.0, tasks=250)
    limit.seconds, limit.scheduler_cpu_seconds = 40.0, 10.0
    limit.step_seconds = {"scan": 12.0, "stage": 28.0, "apply": 30.0}
    limit.postgresql_cpu_seconds = {"scan": 5.0, "steps": 35.0, "commit": 5.0, "rest": 5.0}
    limit.wal_bytes, limit.peak_anonymous_mib = 2_000_000_000, 140
    limit.valuing, limit.committing = 0.5, 0.25
    text = page({**OF_TARGETS, "scheduler_limit": [asdict(limit)]})
    assert "| 5,000,000 | 250 | 40.0 | 8.0 | 12.0, 28.0, 30.0 | 0.8 | 400 | 140 |" in text
    assert "| 5,000,000 positions | 2.00 | 1.00 | 7.00 | 1.00 | 1.00 | 12.00 |" in text
    words = " ".join(text.split())
    assert "needs 80 s (2 times what 5,000,000 positions took" in words
    assert "20 s of CPU of its own process and 100 s of PostgreSQL's" in words
    assert "That is 60 s of 2 cores that do nothing else." in words
    assert "the longest of them sets the time: apply, 60 s here" in words
    assert "nothing was run" not in words
    target = "`scheduler-limit`, 5,000,000 positions"
    assert target not in text  # it is of ten million
    limit.positions = 10_000_000
    text = page({**OF_TARGETS, "scheduler_limit": [asdict(limit)]})
    assert (
        "10,000,000 positions, one new day, 400 waiting actors | 60 s or less | 40 s | met" in text
    )
    assert "needs 40 s (measured" in " ".join(text.split())
