"""The table of what was asked for, and whether it is met."""

from revalue.benchmarks.report import lake
from revalue.benchmarks.report.form import (
    Record,
    Target,
    correction_day,
    largest,
    median,
    postgresql_us,
    table,
    times_slower,
    workload,
)
from revalue.benchmarks.report.scheduler import ESTIMATED_POSITIONS

_LARGE_BOOK = 1_000_000


def targets(records: Record) -> str:
    backfill, scan, hot = records["backfill"], records["scan"], records["profile"]
    day, book = correction_day(records), workload(records, "backfill")
    ratios = backfill["ratios"]
    measured = [largest(r) for r in [backfill, *records["workloads"], *records["growth"]]]
    mib = None if None in measured else max(each for each in measured if each is not None)
    by_sql = [name for name in ratios if name.startswith("sql")]
    two = next(
        (
            name
            for name in ratios
            if name.startswith("upper-bound") and not name.startswith("upper-bound, 1")
        ),
        None,
    )
    per_row = (hot[-1]["calls"] - hot[0]["calls"]) / (hot[-1]["rows"] - hot[0]["rows"])
    rows: list[Target] = [
        Target(
            "`backfill` against `upper-bound`, 1 connection",
            "0.80",
            f"{ratios['upper-bound, 1 connection']:.2f}",
            ratios["upper-bound, 1 connection"] >= 0.8,
        ),
        *(
            [
                Target(
                    f"`backfill` against `{two}`",
                    "0.90",
                    f"{ratios[two]:.2f}",
                    ratios[two] >= 0.9,
                )
            ]
            if two
            else []
        ),
        *(
            Target(f"`backfill` against `{name}`", "3", f"{ratios[name]:.2f}", ratios[name] >= 3)
            for name in by_sql
        ),
        Target(
            "`backfill` against `per-job`",
            "500",
            f"{ratios['per-job']:.0f}",
            ratios["per-job"] >= 500,
        ),
        _share(
            "`correction-day`, positions/s, against the rows/s of the `backfill` above",
            day,
            backfill,
        ),
        _share("the same against the `backfill` of the same book", day, book),
        Target(
            "`correction-day`: rows written per position",
            "1",
            f"{day['rows'] / day['positions']:g}",
            day["rows"] == day["positions"],
        ),
        Target(
            "scan and eligibility, CPU s",
            "under 3",
            f"{scan['engine_cpu_seconds'] + scan['postgresql_cpu_seconds']:.2f}",
            scan["engine_cpu_seconds"] + scan["postgresql_cpu_seconds"] < 3,
        ),
        *(
            [
                Target(
                    "memory of any one process, MB",
                    "under 600",
                    f"{mib * 1.048576:.0f}",
                    mib * 1.048576 < 600,
                )
            ]
            if mib is not None
            else []
        ),
        Target("Python calls per row, from a profile", "0", f"{per_row:.3f}", per_row < 0.1),
    ]
    rows += _bookkeeping_targets(records)
    rows += _prompt_targets(records)
    rows += lake.targets(records.get("lake", []), times_slower(records))
    verdicts = ["met" if row.is_met else "**not met**" for row in rows]
    columns, cells = ["what", "at least", "measured", ""], [[*row[:3]] for row in rows]
    if times_slower(records) is not None:
        columns.insert(3, "about, there")
        cells = [[*row[:3], row.elsewhere] for row in rows]
    return table(columns, [[*row, verdict] for row, verdict in zip(cells, verdicts, strict=True)])


def _bookkeeping_targets(records: Record) -> list[Target]:
    """Return the rows of what years of use ask for, of the records that there are."""
    rows: list[Target] = []
    slower = times_slower(records)

    def at_most(what: str, limit: float, measured: float, unit: str = "") -> None:
        rows.append(_at_most(what, limit, measured, unit, slower))

    def at_speed(what: str, limit: int, measured: float) -> None:
        elsewhere = "" if slower is None else f"{measured * slower:,.0f}"
        rows.append(Target(what, f"{limit:,}", f"{measured:,}", measured >= limit, elsewhere))

    for name, cpu, wal in (("correction-day", 12, 650), ("roll", 11, 550)):
        w = workload(records, name)
        if w["positions"] >= 100_000:
            at_most(f"`{name}`, PostgreSQL CPU a position", cpu, postgresql_us(w), " µs")
            at_most(f"`{name}`, WAL a position", wal, w["cost"]["wal_bytes"] / w["rows"], " B")
            at_speed(f"`{name}`, positions/s", 90_000, w["rows_per_second"])
    for w in records.get("million", []):
        size = f"{w['positions']:,} positions x {w['dates']} dates"
        at_most(f"`{w['workload']}`, {size}", 15, median(w), " s")
    day = correction_day(records)
    if day.get("kept_rows"):
        kept = sum(day["kept"].values()) / day["kept_rows"]
        at_most(
            "kept for ever by one corrected position-day, all tables and indexes", 260, kept, " B"
        )
    if year := records.get("year"):
        grown = year["last"]["seconds"] / year["first"]["seconds"]
        at_most("`year`, seconds a day, last days against first", 1.1, grown)
        machine = year["last"]["loop_ms"] / year["first"]["loop_ms"]
        what = "the same, against the time of a plain loop before each day"
        at_most(what, 1.1, grown / machine)
        at_most(
            "`year`, bytes of all other tables for one byte of snapshots",
            0.15,
            year["others_per_snapshot_byte"],
        )
    for each in records.get("load", []):
        what = f"first load of {each['rows']:,} {each['what']}, {each['file']}, rows/s"
        if each["rows"] >= 1_000_000:
            at_speed(what, 150_000, each["first"]["rows_per_second"])
    for each in records.get("scheduler_limit", []):
        if each["positions"] >= ESTIMATED_POSITIONS:
            what = f"`scheduler-limit`, {each['positions']:,} positions, one new day"
            at_most(f"{what}, {each['actors']} waiting actors", 60, each["seconds"], " s")
    idles = [each for each in records.get("idle", []) if each["positions"]]
    alone = [each for each in records.get("idle", []) if not each["positions"]]
    for idle in idles:
        limit = 0.2 if idle["positions"] < _LARGE_BOOK else 0.5
        runtime = idle.get("runtime", "ray")
        what = f"`idle`, {idle['positions']:,} positions, {runtime}, CPU a minute"
        at_most(f"{what}, all processes", limit, idle["total_cpu_per_minute"], " s")
        for each in alone if runtime == "ray" else []:
            above = idle["total_cpu_per_minute"] - each["total_cpu_per_minute"]
            at_most(f"{what}, above that of Ray alone", limit, max(above, 0.0), " s")
    return rows


def _prompt_targets(records: Record) -> list[Target]:
    """Return the rows of what somebody waits for at a prompt, of the records that there are."""
    rows: list[Target] = []
    slower = times_slower(records)
    if small := records.get("small_correction"):
        what = "`small-correction`, from prompt to prompt"
        rows.append(_at_most(what, 1.5, small["median_seconds"]["local"], " s", slower))
    if demo := records.get("demo"):
        what = "`demo`, from an empty data folder to its picture"
        rows.append(_at_most(what, 100, demo["median_seconds"], " s", slower))
        if demo["environment_bytes"] is not None:
            megabytes = demo["environment_bytes"] / 1e6
            rows.append(_at_most("environment of `make demo`", 900, megabytes, " MB", slower))
    return rows


def _at_most(what: str, limit: float, measured: float, unit: str, slower: float | None) -> Target:
    is_time = slower is not None and unit in (" s", " µs")
    elsewhere = f"{measured / slower:,.3g}{unit}" if slower and is_time else ""
    asked, found = f"{limit:,g}{unit} or less", f"{measured:,.4g}{unit}"
    return Target(what, asked, found, measured <= limit, elsewhere)


def _share(what: str, day: Record, backfill: Record) -> Target:
    share = day["rows_per_second"] / backfill["rows_per_second"]
    return Target(what, "0.10", f"{share:.2f}", share >= 0.1)
