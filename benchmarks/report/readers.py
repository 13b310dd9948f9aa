"""The sections about those who wait: readers, newcomers, small corrections, previews, a herd."""

import statistics

from revalue.benchmarks.report.form import PROCESSES, Record, largest, table


def reads_size(reads: Record) -> str:
    spans = f" of {reads['spans']:,} spans" if "spans" in reads else ""
    return f"{reads['positions']:,} positions and {reads['jobs']:,} jobs{spans}"


def reads_table(reads: Record) -> str:
    return table(["read", "ms"], [[name, ms] for name, ms in reads["milliseconds"].items()])


def small_table(small: Record) -> str:
    return table(
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


def demo_text(demo: Record) -> str:
    runs = ", ".join(f"{seconds:.1f}" for seconds in demo["seconds"])
    text = f"{demo['rows']:,} position-days: {demo['median_seconds']:.1f} s (the median of {runs})"
    if demo["environment_bytes"] is None:
        return text
    return (
        f"{text}. Its environment, as `make .venv/installed` makes it in a fresh clone, takes "
        f"{demo['environment_bytes'] / 1e6:,.0f} MB of the disk. Its "
        f"installation took {demo['install_seconds']:.0f} s, which depends on the package index "
        "and the network and is part of no other number"
    )


def preview_values(record: Record) -> dict[str, str]:
    return {
        "preview": table(
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


def herd_values(herd: Record) -> dict[str, str]:
    quiet = statistics.median(herd["quiet"])
    return {
        "herd": table(
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
                    ", ".join(f"{h['cost']['cpu_seconds'].get(kind, 0):.2f}" for kind in PROCESSES),
                    f"{h['cost']['cpu_seconds'].get('client', 0):.2f}",
                    largest(h),
                ]
                for h in herd["herds"]
            ],
        ),
        "herd_size": f"{herd['positions']:,} positions, {herd['dates']} dates",
        "herd_quiet": f"{quiet:.2f}",
    }
