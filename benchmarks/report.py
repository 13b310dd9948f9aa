"""python -m revalue.benchmarks.report: make docs/performance.md and its pictures from the records.

No number is typed by hand.
"""

import argparse
import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

from revalue.benchmarks import report_lake

ROOT = Path(__file__).resolve().parents[1]  # `revalue/benchmarks` is a link
TEMPLATE = Path(__file__).with_name("performance.md")

Record = dict[str, Any]

_SECTION = re.compile(r"\{\{if (\w+)\}\}\n(.*?)\{\{end\}\}\n", re.DOTALL)

_SCHEDULER_PHASES = ("fan out", "scan", "stage", "apply")
_PROCESSES = ("postgresql", "scheduler", "actors")
_LIMIT_STEPS = ("scan", "stage", "apply")
_LIMIT_SESSIONS = {
    "scan": "its scans",
    "steps": "its other steps",
    "commit": "commits of the actors",
    "rest": "log, checkpoints, vacuum",
}
_ESTIMATED_POSITIONS = 10_000_000
_NODES, _NODE_CORES = 50, 8
_SHOWN_BYTES = 100_000
_UNKNOWN = "-"


def read(folder: Path) -> Record:
    """Read the records, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def page(records: Record) -> str:
    """Return the whole page: the template with its {{names}} replaced.

    What stands between {{if name}} and {{end}} is left out if no record has it.

    Raises:
        ValueError: the template has a name without a value.
    """
    values = _values(records)

    def section(found: re.Match[str]) -> str:
        return found[2] if found[1] in values else ""

    text = _SECTION.sub(section, TEMPLATE.read_text())
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    if "{{" in text:
        raise ValueError(
            f"the template needs a value that no record has: {text[text.index('{{') :][:40]}"
        )
    return text


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(
        [*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]
    )


def _median(record: Record) -> float:
    """Return the seconds of the run whose CPU, WAL and phases the record has."""
    return float(record.get("median_seconds") or statistics.median(record["seconds"]))


def _spread(record: Record) -> str:
    return f"{record['spread']:.0%}" if len(record["seconds"]) > 1 else "single run"


def _postgresql_us(record: Record) -> float:
    return float(record["cost"]["cpu_seconds"].get("postgresql", 0) / record["rows"] * 1e6)


def _values(records: Record) -> dict[str, str]:
    """Return the text of each name in the template."""
    return {
        **_machine_values(records["machine"]),
        "targets": _targets(records),
        **_backfill_values(records["backfill"]),
        "workloads": _workloads_table(records["workloads"]),
        "phases": _phases_table(records["backfill"], _day(records)),
        "memory": _memory_table([records["backfill"], *records["workloads"], *records["growth"]]),
        "growth": _growth_table(records["growth"]),
        "pool": _table(
            ["actors", "rows/s", "median s"],
            [
                [p["actors"], f"{p['rows_per_second']:,}", f"{_median(p):.2f}"]
                for p in records["pool"]
            ],
        ),
        "table_variants": _table_variants_table(records["table_variants"]),
        "scan": _scan_text(records["scan"]),
        "reads_size": _reads_size(records["reads"]),
        "reads": _table(
            ["read", "ms"], [[name, ms] for name, ms in records["reads"]["milliseconds"].items()]
        ),
        **_profile_values(records["profile"]),
        **_older_values(records),
        **_pathway_values(_day(records)),
        **(_herd_values(records["herd"]) if "herd" in records else {}),
        **(_kept_values(_day(records)) if _day(records).get("kept_rows") else {}),
        **({"million": _million_table(records["million"])} if "million" in records else {}),
        **(_year_values(records["year"]) if "year" in records else {}),
        **(_position_cost_values(records["position_cost"]) if "position_cost" in records else {}),
        **({"idle": _idle_table(records["idle"])} if "idle" in records else {}),
        **(
            {"small_correction": _small_table(records["small_correction"])}
            if "small_correction" in records
            else {}
        ),
        **({"load": _load_table(records["load"])} if "load" in records else {}),
        **(
            _scheduler_limit_values(records["scheduler_limit"])
            if "scheduler_limit" in records
            else {}
        ),
        **(
            {"lake": _table(report_lake.COLUMNS, report_lake.rows_of_table(records["lake"]))}
            if "lake" in records
            else {}
        ),
        **(_lake_reads_values(records["lake_reads"]) if "lake_reads" in records else {}),
        **_preview_values(records["preview"]),
        **_estimate(records),
        **_estimate_of_scheduler(records),
    }


def _machine_values(machine: Record) -> dict[str, str]:
    return {
        "machine": f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, "
        f"Python {machine['python']}, "
        f"where ten million iterations of a plain Python loop took {machine['loop_seconds']} s "
        "when `machine` was recorded",
        "cores": str(machine["cores"]),
    }


def _backfill_values(backfill: Record) -> dict[str, str]:
    return {
        "backfill": _table(
            ["", "rows/s", "engine against it"],
            [
                [
                    f"**engine**, {backfill['actors']} actors",
                    f"**{backfill['rows_per_second']:,}**",
                    "",
                ],
                *(
                    [name, f"{rate:,}", f"{backfill['ratios'][name]:.2f}"]
                    for name, rate in backfill["baselines"].items()
                ),
            ],
        ),
        "backfill_rows": f"{backfill['rows']:,}",
        "backfill_positions": f"{backfill['positions']:,}",
        "backfill_dates": f"{backfill['dates']:,}",
        "backfill_runs": str(len(backfill["seconds"])),
        "backfill_command": (
            f"revalue bench backfill --positions {backfill['positions']} --dates "
            f"{backfill['dates']} --baselines upper-bound,sql,duckdb,per-job"
        ),
        "backfill_spread": f"{backfill['spread']:.0%}",
        "backfill_verified": backfill["verified"],
    }


def _workloads_table(workloads: list[Record]) -> str:
    return _table(
        [
            "workload",
            "positions",
            "dates",
            "rows",
            "median s",
            "rows/s",
            "spread",
            "spans",
            f"{_statements_name(workloads[0])} per 1,000 rows",
            "WAL bytes per row",
            "PostgreSQL CPU per row, µs",
            "CPU s: PostgreSQL, scheduler, actors",
        ],
        [
            [
                w["workload"],
                f"{w['positions']:,}",
                w["dates"],
                f"{w['rows']:,}",
                f"{_median(w):.2f}",
                f"{w['rows_per_second']:,}",
                _spread(w),
                f"{w['jobs']:,}",
                f"{_statements(w) / w['rows'] * 1000:.1f}",
                f"{w['cost']['wal_bytes'] / w['rows']:,.0f}",
                f"{_postgresql_us(w):.1f}",
                ", ".join(f"{w['cost']['cpu_seconds'].get(kind, 0):.2f}" for kind in _PROCESSES),
            ]
            for w in workloads
        ],
    )


def _pathway_values(day: Record) -> dict[str, str]:
    notes = day.get("baseline_notes", {}).get("pathway")
    if notes is None:
        return {}
    cpu = day["cost"]["cpu_seconds"]
    own = sum(cpu.get(kind, 0) for kind in _PROCESSES)
    return {
        "pathway_version": notes["version"],
        "pathway_positions": str(day["positions"]),
        "pathway_dates": str(day["dates"]),
        "pathway": _table(
            ["", "s", "CPU s", "largest process, MiB", "s to build"],
            [
                [
                    f"engine, {day['actors']} actors and PostgreSQL, durable",
                    f"{_median(day):.2f}",
                    f"{own:.2f}",
                    _largest(day) or _UNKNOWN,
                    "",
                ],
                [
                    "Pathway, in memory",
                    f"{notes['seconds']:.2f}",
                    f"{notes['cpu_seconds']:.2f}",
                    f"{notes['peak_mib']:,}",
                    f"{notes['build_seconds']:.1f}",
                ],
            ],
        ),
    }


def _older_values(records: Record) -> dict[str, str]:
    """Name the records that an older version of the harness has made."""
    older = [
        name
        for name in ("backfill", "growth", "pool")
        if any("median_seconds" not in each for each in _listed(records[name]))
    ]
    if not older:
        return {}
    return {
        "older": f"of {', '.join(older)}, in which CPU, WAL and phases are of the last run, CPU of "
        "processes that had ended is missing, and no process's own memory was measured"
    }


def _listed(record: Any) -> list[Record]:
    return record if isinstance(record, list) else [record]


def _statements(record: Record) -> int:
    counted = record.get("server_statements")
    return int(record["statements"] if counted is None else counted)


def _statements_name(record: Record) -> str:
    named = record.get("server_statements") is None
    return "named SQL statements" if named else "SQL statements"


def _million_table(million: list[Record]) -> str:
    return _table(
        ["workload", "positions", "dates", "s", "rows/s", "PostgreSQL CPU per row, µs"],
        [
            [
                w["workload"],
                f"{w['positions']:,}",
                w["dates"],
                f"{_median(w):.1f}",
                f"{w['rows_per_second']:,}",
                f"{_postgresql_us(w):.1f}",
            ]
            for w in million
        ],
    )


def _kept_values(day: Record) -> dict[str, str]:
    rows = day["kept_rows"]
    tables = sorted(day["kept"].items(), key=lambda item: -item[1])
    return {
        "kept": _table(
            ["table", "bytes per corrected position-day"],
            [[f"`{name}`", f"{grown / rows:,.0f}"] for name, grown in tables if grown],
        ),
        "kept_total": f"{sum(day['kept'].values()) / rows:,.0f} bytes",
    }


def _year_values(year: Record) -> dict[str, str]:
    first, last = year["first"], year["last"]
    return {
        "year_size": f"{year['positions']:,} positions and {year['dates']:,} days",
        "year": _table(
            ["table", "rows", "table, MB", "indexes, MB", "bytes for one byte of snapshots"],
            [
                [
                    f"`{name}`",
                    f"{size['rows']:,}",
                    f"{size['table_bytes'] / 1e6:,.1f}",
                    f"{size['index_bytes'] / 1e6:,.1f}",
                    f"{_bytes(size) / _bytes(year['sizes']['daily_position_snapshots']):.3f}",
                ]
                for name, size in year["sizes"].items()
                if _bytes(size) >= _SHOWN_BYTES
            ],
        ),
        "year_days": _table(
            ["", "seconds a day", "PostgreSQL CPU s a day", "WAL MB a day"],
            [
                [
                    f"{which} {year['compared_days']} days",
                    f"{days['seconds']:.3f}",
                    f"{days['postgresql_cpu_seconds']:.3f}",
                    f"{days['wal_bytes'] / 1e6:,.1f}",
                ]
                for which, days in (("first", first), ("last", last))
            ],
        ),
        "year_summary": f"The last days take {last['seconds'] / first['seconds']:.2f} times as "
        f"long as the first, and {_ratio(last, first)} times PostgreSQL's CPU. All other tables "
        f"and indexes take {year['others_per_snapshot_byte']:.2f} bytes for one byte of "
        f"snapshots. {year['rows']:,} position-days were written, {year['rows_due']:,} were due.",
        "year_verified": year["verified"],
    }


def _bytes(size: Record) -> int:
    return int(size["table_bytes"] + size["index_bytes"])


def _ratio(last: Record, first: Record) -> str:
    return f"{last['postgresql_cpu_seconds'] / max(first['postgresql_cpu_seconds'], 0.001):.2f}"


def _idle_table(idle: list[Record]) -> str:
    kinds = ("postgresql", "scheduler", "actors", "ray", "client")
    return _table(
        [
            "positions",
            "CPU s a minute, all",
            "PostgreSQL",
            "scheduler",
            "actors",
            "Ray's own",
            "command",
            "WAL bytes",
            "measured for, s",
        ],
        [
            [
                f"{i['positions']:,}" if i["positions"] else i["workload"],
                f"{i['total_cpu_per_minute']:.2f}",
                *(f"{i['cpu_per_minute'].get(kind, 0):.2f}" for kind in kinds),
                f"{i['wal_bytes']:,}",
                f"{i['seconds']:g}",
            ]
            for i in idle
        ],
    )


def _small_table(small: Record) -> str:
    return _table(
        ["runtime", "median, s", "fastest, s", "slowest, s"],
        [
            [
                name,
                f"{small['median_seconds'][name]:.2f}",
                f"{min(found):.2f}",
                f"{max(found):.2f}",
            ]
            for name, found in small["seconds"].items()
        ],
    )


def _load_table(loads: list[Record]) -> str:
    return _table(
        [
            "what",
            "file",
            "rows",
            "load",
            "s",
            "rows/s",
            "PostgreSQL CPU per row, µs",
            "client's CPU per row, µs",
            "WAL bytes per row",
            "client, MiB (before)",
            "largest process of PostgreSQL, MiB",
        ],
        [
            [
                each["what"],
                each["file"],
                f"{each['rows']:,}",
                name,
                f"{each[name]['seconds']:.1f}",
                f"{each[name]['rows_per_second']:,}",
                f"{each[name]['postgresql_us']:.2f}",
                f"{each[name]['client_us']:.2f}",
                f"{each[name]['wal_bytes']:,.0f}",
                f"{each[name]['client_mib']:,} ({each[name]['client_mib_before']:,})",
                each[name]["postgresql_mib"],
            ]
            for each in loads
            for name in ("first", "again")
        ],
    )


def _lake_reads_values(reads: Record) -> dict[str, str]:
    table = _table(report_lake.READ_COLUMNS, report_lake.rows_of_reads(reads))
    return {"lake_reads": table, **report_lake.values_of_reads(reads)}


def _scheduler_limit_values(limits: list[Record]) -> dict[str, str]:
    first = limits[0]
    return {
        "scheduler_limit_actors": f"{first['actors']:,}",
        "scheduler_limit_row_us": f"{first['row_us']:g}",
        "scheduler_limit_task_ms": f"{first['task_ms']:g}",
        "scheduler_limit": _table(
            [
                "positions",
                "tasks",
                "s",
                "µs per position",
                "s in scan, stage, apply",
                "actors at work, on average",
                "WAL bytes per position",
                "scheduler, MiB",
            ],
            [
                [
                    f"{each['positions']:,}",
                    f"{each['tasks']:,}",
                    f"{each['seconds']:.1f}",
                    f"{each['seconds'] / each['positions'] * 1e6:.1f}",
                    ", ".join(f"{each['step_seconds'][step]:.1f}" for step in _LIMIT_STEPS),
                    f"{each['valuing'] + each['committing']:.1f}",
                    f"{each['wal_bytes'] / each['positions']:,.0f}",
                    each["peak_anonymous_mib"],
                ]
                for each in limits
            ],
        ),
        "scheduler_limit_cpu": _table(
            [
                "CPU per position, µs",
                "scheduler's process",
                *(f"PostgreSQL: {name}" for name in _LIMIT_SESSIONS.values()),
                "all",
            ],
            [
                [
                    f"{each['positions']:,} positions",
                    *(f"{spent / each['positions'] * 1e6:.2f}" for spent in _limit_cpu(each)),
                    f"{sum(_limit_cpu(each)) / each['positions'] * 1e6:.2f}",
                ]
                for each in limits
            ],
        ),
    }


def _limit_cpu(limit: Record) -> list[float]:
    """Return the CPU seconds of the scheduler, and of PostgreSQL by _LIMIT_SESSIONS."""
    of_server = limit["postgresql_cpu_seconds"]
    return [limit["scheduler_cpu_seconds"], *(of_server[kind] for kind in _LIMIT_SESSIONS)]


def _phases_table(backfill: Record, day: Record) -> str:
    phases = sorted(backfill["phases"].items(), key=lambda item: item[0] in _SCHEDULER_PHASES)
    return _table(
        [
            "phase",
            f"backfill of {backfill['rows']:,} rows, s",
            f"corrected day of {day['positions']:,} positions, s",
        ],
        [[name, f"{s:.2f}", f"{day['phases'].get(name, 0):.2f}"] for name, s in phases],
    )


def _memory_table(outcomes: list[Record]) -> str:
    return _table(
        ["workload", "PostgreSQL", "scheduler", "actor"],
        [
            [
                f"{w['workload']} {w['positions']:,} x {w['dates']}",
                *(_peaks(w).get(kind, _UNKNOWN) for kind in _PROCESSES),
            ]
            for w in outcomes
        ],
    )


def _growth_table(growth: list[Record]) -> str:
    return _table(
        ["positions", "dates", "rows", "seconds", "microseconds per row", "largest process, MiB"],
        [
            [
                f"{g['positions']:,}",
                f"{g['dates']:,}",
                f"{g['rows']:,}",
                f"{_median(g):.2f}",
                f"{_median(g) / g['rows'] * 1e6:.1f}",
                _largest(g) or _UNKNOWN,
            ]
            for g in growth
        ],
    )


def _table_variants_table(variants: list[Record]) -> str:
    return _table(
        [
            "table",
            "`sql`, rows/s",
            f"`upper-bound`, {variants[0]['connections']} connections",
            "upper bound against `sql`",
        ],
        [
            [
                v["variant"],
                f"{v['sql']:,}",
                f"{v['upper_bound']:,}",
                f"{v['upper_bound'] / v['sql']:.2f}",
            ]
            for v in variants
        ],
    )


def _position_cost_values(cost: Record) -> dict[str, str]:
    steps: dict[str, dict[str, Record]] = {}
    for each in cost["steps"]:
        steps.setdefault(each["step"], {})[each["correction"]] = each
    first, later = "after a checkpoint", "the next one"
    totals = [
        sum(each[column] for each in cost["steps"] if each["correction"] == correction)
        for column in ("cpu_us", "wal_bytes")
        for correction in (first, later)
    ]
    return {
        "position_cost_size": f"{cost['positions']:,} positions",
        "position_steps": _table(
            ["step", "CPU, µs, after a checkpoint", "later", "WAL, bytes", "later"],
            [
                *(
                    [
                        step,
                        f"{of[first]['cpu_us']:.1f}",
                        f"{of[later]['cpu_us']:.1f}",
                        of[first]["wal_bytes"],
                        of[later]["wal_bytes"],
                    ]
                    for step, of in steps.items()
                ),
                ["all", f"{totals[0]:.1f}", f"{totals[1]:.1f}", totals[2], totals[3]],
            ],
        ),
        "position_variants": _table(
            ["table", "CPU, µs, after a checkpoint", "later", "WAL, bytes", "later"],
            [
                [
                    v["variant"],
                    f"{v['first']['cpu_us']:.1f}",
                    f"{v['later']['cpu_us']:.1f}",
                    v["first"]["wal_bytes"],
                    v["later"]["wal_bytes"],
                ]
                for v in cost["variants"]
            ],
        ),
    }


def _reads_size(reads: Record) -> str:
    spans = f" of {reads['spans']:,} spans" if "spans" in reads else ""
    return f"{reads['positions']:,} positions and {reads['jobs']:,} jobs{spans}"


def _scan_text(scan: Record) -> str:
    return (
        f"{scan['positions']:,} positions: {scan['engine_cpu_seconds']} s of CPU in the engine "
        f"and {scan['postgresql_cpu_seconds']} s in PostgreSQL, {scan['seconds']} s on the clock"
    )


def _profile_values(profiles: list[Record]) -> dict[str, str]:
    small, large = profiles[0], profiles[-1]
    return {
        "profile": _table(
            ["rows", "jobs", "Python and C calls", "seconds"],
            [[f"{p['rows']:,}", p["jobs"], f"{p['calls']:,}", p["seconds"]] for p in profiles],
        ),
        "profile_times": f"{large['rows'] / small['rows']:g}",
        "profile_functions": _table(
            ["function", "calls", "own seconds"],
            [[f"`{f['name']}`", f"{f['calls']:,}", f["own_seconds"]] for f in large["functions"]],
        ),
    }


def _preview_values(record: Record) -> dict[str, str]:
    return {
        "preview": _table(
            ["dates corrected", "positions", "position-days", "s", "peak of the process, MiB"],
            [
                [
                    p["dates"],
                    f"{p['positions']:,}",
                    f"{p['position_days']:,}",
                    f"{min(p['seconds']):.1f}",
                    f"{p['peak_mib']:,}",
                ]
                for p in record["previews"]
            ],
        ),
        "preview_size": f"{record['positions']:,} positions, {record['dates']} dates",
    }


def _herd_values(herd: Record) -> dict[str, str]:
    quiet = statistics.median(herd["quiet"])
    return {
        "herd": _table(
            [
                "herd",
                "seconds",
                "live days",
                "live positions waited, median s",
                "longest s",
                "against quiet",
                "most tasks in flight",
                "CPU s: PostgreSQL, scheduler, actors",
                "CPU s of looking on",
                "largest process, MiB",
            ],
            [
                [
                    h["herd"],
                    h["seconds"],
                    len(h["live_seconds"]),
                    f"{statistics.median(h['live_seconds']):.2f}",
                    f"{max(h['live_seconds']):.2f}",
                    f"{statistics.median(h['live_seconds']) / quiet:.1f}",
                    h["max_tasks_in_flight"],
                    ", ".join(
                        f"{h['cost']['cpu_seconds'].get(kind, 0):.2f}" for kind in _PROCESSES
                    ),
                    f"{h['cost']['cpu_seconds'].get('client', 0):.2f}",
                    _largest(h),
                ]
                for h in herd["herds"]
            ],
        ),
        "herd_size": f"{herd['positions']:,} positions, {herd['dates']} dates",
        "herd_quiet": f"{quiet:.2f}",
    }


def _day(records: Record) -> Record:
    return _workload(records, "correction-day")


def _peaks(record: Record) -> dict[str, int]:
    return record["cost"].get("peak_anonymous_mib") or {}


def _largest(record: Record) -> int | None:
    """Return the MiB of the largest process; None: older records did not tell its own memory."""
    return max(_peaks(record).values(), default=None)


def _workload(records: Record, name: str) -> Record:
    return next(w for w in records["workloads"] if w["workload"] == name)


def _targets(records: Record) -> str:
    backfill, scan, hot = records["backfill"], records["scan"], records["profile"]
    day, book = _workload(records, "correction-day"), _workload(records, "backfill")
    ratios = backfill["ratios"]
    measured = [_largest(r) for r in [backfill, *records["workloads"], *records["growth"]]]
    largest = None if None in measured else max(each for each in measured if each is not None)
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
    rows: list[tuple[str, str, str, bool]] = [
        (
            "`backfill` against `upper-bound`, 1 connection",
            "0.80",
            f"{ratios['upper-bound, 1 connection']:.2f}",
            ratios["upper-bound, 1 connection"] >= 0.8,
        ),
        *(
            [
                (
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
            (f"`backfill` against `{name}`", "3", f"{ratios[name]:.2f}", ratios[name] >= 3)
            for name in by_sql
        ),
        (
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
        (
            "`correction-day`: rows written per position",
            "1",
            f"{day['rows'] / day['positions']:g}",
            day["rows"] == day["positions"],
        ),
        (
            "scan and eligibility, CPU s",
            "under 3",
            f"{scan['engine_cpu_seconds'] + scan['postgresql_cpu_seconds']:.2f}",
            scan["engine_cpu_seconds"] + scan["postgresql_cpu_seconds"] < 3,
        ),
        *(
            [
                (
                    "memory of any one process, MB",
                    "under 600",
                    f"{largest * 1.048576:.0f}",
                    largest * 1.048576 < 600,
                )
            ]
            if largest is not None
            else []
        ),
        ("Python calls per row, from a profile", "0", f"{per_row:.3f}", per_row < 0.1),
    ]
    rows += _bookkeeping_targets(records)
    rows += report_lake.targets(records.get("lake", []))
    return _table(
        ["what", "at least", "measured", ""],
        [[*row[:3], "met" if row[3] else "**not met**"] for row in rows],
    )


def _bookkeeping_targets(records: Record) -> list[tuple[str, str, str, bool]]:
    """Return the rows of what years of use ask for, of the records that there are."""
    rows: list[tuple[str, str, str, bool]] = []

    def at_most(what: str, limit: float, measured: float, unit: str = "") -> None:
        rows.append(
            (what, f"{limit:,g}{unit} or less", f"{measured:,.4g}{unit}", measured <= limit)
        )

    for name, cpu, wal in (("correction-day", 12, 650), ("roll", 11, 550)):
        w = _workload(records, name)
        if w["positions"] >= 100_000:
            at_most(f"`{name}`, PostgreSQL CPU a position", cpu, _postgresql_us(w), " µs")
            at_most(f"`{name}`, WAL a position", wal, w["cost"]["wal_bytes"] / w["rows"], " B")
            speed = w["rows_per_second"]
            rows.append((f"`{name}`, positions/s", "90,000", f"{speed:,}", speed >= 90_000))
    for w in records.get("million", []):
        size = f"{w['positions']:,} positions x {w['dates']} dates"
        at_most(f"`{w['workload']}`, {size}", 15, _median(w), " s")
    day = _day(records)
    if day.get("kept_rows"):
        kept = sum(day["kept"].values()) / day["kept_rows"]
        at_most(
            "kept for ever by one corrected position-day, all tables and indexes", 260, kept, " B"
        )
    if year := records.get("year"):
        slower = year["last"]["seconds"] / year["first"]["seconds"]
        at_most("`year`, seconds a day, last days against first", 1.1, slower)
        at_most(
            "`year`, bytes of all other tables for one byte of snapshots",
            0.15,
            year["others_per_snapshot_byte"],
        )
    for each in records.get("load", []):
        speed = each["first"]["rows_per_second"]
        what = f"first load of {each['rows']:,} {each['what']}, {each['file']}, rows/s"
        if each["rows"] >= 1_000_000:
            rows.append((what, "150,000", f"{speed:,}", speed >= 150_000))
    for each in records.get("scheduler_limit", []):
        if each["positions"] >= _ESTIMATED_POSITIONS:
            what = f"`scheduler-limit`, {each['positions']:,} positions, one new day"
            at_most(f"{what}, {each['actors']} waiting actors", 60, each["seconds"], " s")
    idles = [each for each in records.get("idle", []) if each["positions"]]
    alone = [each for each in records.get("idle", []) if not each["positions"]]
    for idle, limit in zip(idles, (0.2, 0.5), strict=False):
        what = f"`idle`, {idle['positions']:,} positions, CPU a minute"
        at_most(f"{what}, all processes", limit, idle["total_cpu_per_minute"], " s")
        for each in alone:
            above = idle["total_cpu_per_minute"] - each["total_cpu_per_minute"]
            at_most(f"{what}, above that of Ray alone", limit, max(above, 0.0), " s")
    if small := records.get("small_correction"):
        what = "`small-correction`, from prompt to prompt"
        at_most(what, 1.5, small["median_seconds"]["local"], " s")
    return rows


def _share(what: str, day: Record, backfill: Record) -> tuple[str, str, str, bool]:
    share = day["rows_per_second"] / backfill["rows_per_second"]
    return what, "0.10", f"{share:.2f}", share >= 0.1


def _estimate(records: Record) -> dict[str, str]:
    """Estimate 10 million positions on 50 nodes of 8 cores from the measured constants alone."""
    day, book, scan = (
        _workload(records, "correction-day"),
        _workload(records, "backfill"),
        records["scan"],
    )
    roll = _workload(records, "roll")
    rates = records["backfill"]["baselines"]
    positions = _ESTIMATED_POSITIONS
    actor = book["cost"]["cpu_seconds"]["actors"] / book["rows"]
    server = roll["cost"]["cpu_seconds"]["postgresql"] / roll["rows"]
    scheduler = roll["cost"]["cpu_seconds"]["scheduler"] / roll["rows"]
    wal = roll["cost"]["wal_bytes"] / roll["rows"]
    return {
        "estimate_actors": f"{actor * positions / (_NODES * _NODE_CORES):,.1f}",
        "estimate_server": f"{server * positions:,.0f}",
        "estimate_scheduler": f"{scheduler * positions:,.0f}",
        "estimate_scan": f"{scan['engine_cpu_seconds'] * positions / scan['positions']:,.0f}",
        "estimate_wal": f"{wal * positions / 1e9:,.1f}",
        "actor_us": f"{actor * 1e6:.1f}",
        "server_us": f"{server * 1e6:.0f}",
        "scheduler_us": f"{scheduler * 1e6:.0f}",
        "wal_row": f"{wal:,.0f}",
        "day_wal": f"{day['cost']['wal_bytes'] / day['rows']:,.0f}",
        "day_server": f"{day['cost']['cpu_seconds']['postgresql'] / _median(day):.2f}",
        "day_seconds": f"{_median(day):.2f}",
        "sql_rate": f"{_one_sql(rates):,}",
        "two_times": f"{_two(rates) / _one_sql(rates):.1f}",
        "two_rate": f"{_two(rates):,}",
        "per_job_rate": f"{rates['per-job']:,}",
    }


def _estimate_of_scheduler(records: Record) -> dict[str, str]:
    """Estimate the same with the scheduler as it was measured, if it was."""
    if "scheduler_limit" not in records:
        return {"estimate_calculated": ""}
    limit = max(records["scheduler_limit"], key=lambda each: float(each["positions"]))
    roll, book = _workload(records, "roll"), _workload(records, "backfill")
    positions, times = _ESTIMATED_POSITIONS, _ESTIMATED_POSITIONS / limit["positions"]
    scheduler, *of_server = (spent * times for spent in _limit_cpu(limit))
    seconds = limit["seconds"] * times
    actors = book["cost"]["cpu_seconds"]["actors"] / book["rows"] * positions
    server = roll["cost"]["cpu_seconds"]["postgresql"] / roll["rows"] * positions
    rows = max(server - sum(of_server), 0.0)
    wal = roll["cost"]["wal_bytes"] / roll["rows"] * positions
    is_same = limit["positions"] == positions
    return {
        "estimate_measured": "",
        "limit_run": "measured"
        if is_same
        else f"{times:,.3g} times what {limit['positions']:,} positions took",
        "limit_seconds": f"{seconds:,.0f}",
        "limit_scheduler": f"{scheduler:,.0f}",
        "limit_server": f"{sum(of_server):,.0f}",
        "limit_least": f"{(scheduler + sum(of_server)) / records['machine']['cores']:,.0f}",
        "limit_step": max(limit["step_seconds"], key=limit["step_seconds"].__getitem__),
        "limit_step_seconds": f"{max(limit['step_seconds'].values()) * times:,.0f}",
        "limit_at_work": f"{limit['valuing'] + limit['committing']:.1f}",
        "limit_actors": f"{limit['actors']:,}",
        "limit_actors_cpu": f"{actors:,.0f}",
        "limit_nodes": _counted(math.ceil(actors / seconds / _NODE_CORES), "node"),
        "limit_rows_us": f"{rows / positions * 1e6:.1f}",
        "limit_rows": f"{rows:,.0f}",
        "limit_cores": f"{(sum(of_server) + rows) / seconds:.1f}",
        "limit_wal_rate": f"{wal / seconds / 1e6:,.0f}",
    }


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _one_sql(rates: dict[str, float]) -> float:
    return next(rate for name, rate in rates.items() if name.startswith("sql"))


def _two(rates: dict[str, float]) -> float:
    return max(rate for name, rate in rates.items() if name.startswith("upper-bound"))


def draw(records: Record, folder: Path) -> None:
    """Draw baselines.png, growth.png and pool.png."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _draw_baselines(records["backfill"], folder / "baselines.png")
    _draw_growth(records["growth"], folder / "growth.png")
    _draw_pool(records["pool"], records["machine"]["cores"], folder / "pool.png")


def _draw_baselines(backfill: Record, path: Path) -> None:
    from matplotlib import pyplot

    rates = {
        f"engine, {backfill['actors']} actors": backfill["rows_per_second"],
        **backfill["baselines"],
    }
    figure, axes = pyplot.subplots(figsize=(8.5, 3.4), constrained_layout=True)
    bars = axes.barh(
        list(rates),
        list(rates.values()),
        color=["#34608f", *["#b8c4d0"] * len(backfill["baselines"])],
    )
    axes.bar_label(bars, labels=[f" {rate:,}" for rate in rates.values()], fontsize=8)
    axes.set(
        title=f"Backfill of {backfill['rows']:,} position-days, rows/s (logarithmic)", xscale="log"
    )
    axes.set_xlim(right=max(rates.values()) * 4)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _draw_growth(growth: list[Record], path: Path) -> None:
    from matplotlib import pyplot

    by_positions = [g for g in growth if g["dates"] == 2]
    by_dates = [g for g in growth if g["positions"] == 1_000 and g["dates"] != 2]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for points, label in (
        (by_positions, "positions x 2 dates"),
        (by_dates, "1,000 positions x dates"),
    ):
        rows = [point["rows"] for point in points]
        left.loglog(rows, [_median(point) for point in points], marker="o", label=label)
        largest = [_largest(point) or float("nan") for point in points]
        right.semilogx(rows, largest, marker="o", label=label)
    for axes, title, unit in (
        (left, "Backfill: time", "seconds"),
        (right, "Largest process", "MiB"),
    ):
        axes.set(title=title, xlabel="position-days", ylabel=unit)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False)
    right.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)


def _draw_pool(pool: list[Record], cores: int, path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.5, 3.6), constrained_layout=True)
    axes.bar(
        [str(p["actors"]) for p in pool], [p["rows_per_second"] for p in pool], color="#34608f"
    )
    axes.set(
        title=f"Backfill by size of the pool ({cores} cores)",
        xlabel="valuation actors",
        ylabel="rows/s",
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f} k")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=Path(__file__).parent / "records")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "performance.md")
    given = parser.parse_args()
    records = read(given.records)
    given.to.write_text(page(records))
    draw(records, given.to.parent / "performance")


if __name__ == "__main__":
    main()
