"""The sections about what single parts cost: tables, steps, the scan, Python."""

from revalue.benchmarks.report.form import Record, table


def table_variants_table(variants: list[Record]) -> str:
    return table(
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


def position_cost_values(cost: Record) -> dict[str, str]:
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
        "position_steps": table(
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
        "position_variants": table(
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


def scan_text(scan: Record) -> str:
    return (
        f"{scan['positions']:,} positions: {scan['engine_cpu_seconds']} s of CPU in the engine "
        f"and {scan['postgresql_cpu_seconds']} s in PostgreSQL, {scan['seconds']} s on the clock"
    )


def profile_values(profiles: list[Record]) -> dict[str, str]:
    small, large = profiles[0], profiles[-1]
    return {
        "profile": table(
            ["rows", "jobs", "Python and C calls", "seconds"],
            [[f"{p['rows']:,}", p["jobs"], f"{p['calls']:,}", p["seconds"]] for p in profiles],
        ),
        "profile_times": f"{large['rows'] / small['rows']:g}",
        "profile_functions": table(
            ["function", "calls", "own seconds"],
            [[f"`{f['name']}`", f"{f['calls']:,}", f["own_seconds"]] for f in large["functions"]],
        ),
    }
