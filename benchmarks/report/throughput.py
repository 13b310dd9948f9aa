"""The sections about the speed of the workloads: backfill, corrections, growth, phases, memory."""

from revalue.benchmarks.report.form import (
    PROCESSES,
    UNKNOWN,
    Record,
    cpu_us,
    largest,
    median,
    peaks,
    postgresql_us,
    spread,
    table,
)

_SCHEDULER_PHASES = ("fan out", "scan", "stage", "apply")


def machine_values(machine: Record) -> dict[str, str]:
    return {
        "machine": f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, "
        f"Python {machine['python']}, "
        f"where ten million iterations of a plain Python loop took {machine['loop_seconds']} s "
        "when `machine` was recorded",
        "cores": str(machine["cores"]),
    }


def machines_values(records: Record) -> dict[str, str]:
    """Compare this machine with that on which the targets were set, by what is not the engine's.

    Times slower: how many times as long the same work takes here.
    """
    here, there = records["machine"], records["machine_of_targets"]
    slower = here["loop_seconds"] / there["loop_seconds"]
    rows = [
        [
            "ten million iterations of a plain Python loop, s",
            there["loop_seconds"],
            here["loop_seconds"],
            f"{slower:.2f}",
        ]
    ]
    found = [slower]
    for name, rate in there["baselines"].items():
        now = records["backfill"]["baselines"][name]
        found.append(rate / now)
        rows.append([f"`{name}`, rows/s", f"{rate:,}", f"{now:,}", f"{found[-1]:.2f}"])
    return {
        "targets_commit": there["commit"],
        "machines": table(["", there["cpu"], here["cpu"], "times slower here"], rows),
        "machine_slower": f"{min(found):.1f} to {max(found):.1f}",
    }


def backfill_values(backfill: Record) -> dict[str, str]:
    return {
        "backfill": table(
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
        **_share_of_bound(backfill),
    }


def _share_of_bound(backfill: Record) -> dict[str, str]:
    """Return what a row costs the engine, and two connections that only send it."""
    connections, rate = 2, backfill["baselines"]["upper-bound, 2 connections"]
    bound = connections / rate * 1e6
    server = postgresql_us(backfill)
    actors = backfill["cost"]["cpu_seconds"]["actors"] / backfill["rows"] * 1e6
    return {
        "bound_us": f"{bound:.1f}",
        "backfill_us": f"{cpu_us(backfill):.1f}",
        "backfill_server_us": f"{server:.1f}",
        "backfill_actors_us": f"{actors:.1f}",
        "backfill_most": f"{min(bound / server, 1.0):.2f}",
    }


def workloads_table(workloads: list[Record]) -> str:
    return table(
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
                f"{median(w):.2f}",
                f"{w['rows_per_second']:,}",
                spread(w),
                f"{w['jobs']:,}",
                f"{_statements(w) / w['rows'] * 1000:.1f}",
                f"{w['cost']['wal_bytes'] / w['rows']:,.0f}",
                f"{postgresql_us(w):.1f}",
                ", ".join(f"{w['cost']['cpu_seconds'].get(kind, 0):.2f}" for kind in PROCESSES),
            ]
            for w in workloads
        ],
    )


def _statements(record: Record) -> int:
    counted = record.get("server_statements")
    return int(record["statements"] if counted is None else counted)


def _statements_name(record: Record) -> str:
    named = record.get("server_statements") is None
    return "named SQL statements" if named else "SQL statements"


def pathway_values(day: Record) -> dict[str, str]:
    notes = day.get("baseline_notes", {}).get("pathway")
    if notes is None:
        return {}
    cpu = day["cost"]["cpu_seconds"]
    own = sum(cpu.get(kind, 0) for kind in PROCESSES)
    return {
        "pathway_version": notes["version"],
        "pathway_positions": str(day["positions"]),
        "pathway_dates": str(day["dates"]),
        "pathway": table(
            ["", "s", "CPU s", "largest process, MiB", "s to build"],
            [
                [
                    f"engine, {day['actors']} actors and PostgreSQL, durable",
                    f"{median(day):.2f}",
                    f"{own:.2f}",
                    largest(day) or UNKNOWN,
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


def older_values(records: Record) -> dict[str, str]:
    """Name the records that were not made on the machine of the page."""
    measured, cpu = records.get("measured", {}), records["machine"]["cpu"]
    older = [
        name
        for name in sorted(records.keys() - {"machine", "machine_of_targets", "measured"})
        if measured.get(name, {}).get("cpu") != cpu
    ]
    return {"older": f"`{'`, `'.join(older)}`"} if older else {}


def million_table(million: list[Record]) -> str:
    return table(
        ["workload", "positions", "dates", "s", "rows/s", "PostgreSQL CPU per row, µs"],
        [
            [
                w["workload"],
                f"{w['positions']:,}",
                w["dates"],
                f"{median(w):.1f}",
                f"{w['rows_per_second']:,}",
                f"{postgresql_us(w):.1f}",
            ]
            for w in million
        ],
    )


def pool_table(pool: list[Record]) -> str:
    return table(
        ["actors", "rows/s", "median s"],
        [[p["actors"], f"{p['rows_per_second']:,}", f"{median(p):.2f}"] for p in pool],
    )


def phases_table(backfill: Record, day: Record) -> str:
    names = [*dict.fromkeys([*backfill["phases"], *day["phases"]])]
    phases = sorted(names, key=lambda name: name in _SCHEDULER_PHASES)
    return table(
        [
            "phase",
            f"backfill of {backfill['rows']:,} rows, s",
            f"corrected day of {day['positions']:,} positions, s",
        ],
        [
            [name, *(f"{each['phases'].get(name, 0):.2f}" for each in (backfill, day))]
            for name in phases
        ],
    )


def memory_table(outcomes: list[Record]) -> str:
    return table(
        ["workload", "PostgreSQL", "scheduler", "actor"],
        [
            [
                f"{w['workload']} {w['positions']:,} x {w['dates']}",
                *(peaks(w).get(kind, UNKNOWN) for kind in PROCESSES),
            ]
            for w in outcomes
        ],
    )


def growth_table(growth: list[Record]) -> str:
    return table(
        ["positions", "dates", "rows", "seconds", "microseconds per row", "largest process, MiB"],
        [
            [
                f"{g['positions']:,}",
                f"{g['dates']:,}",
                f"{g['rows']:,}",
                f"{median(g):.2f}",
                f"{median(g) / g['rows'] * 1e6:.1f}",
                largest(g) or UNKNOWN,
            ]
            for g in growth
        ],
    )
