"""The sections about years of use: what is kept, a year of days, idle time, loads."""

from revalue.benchmarks.report.form import Record, table

_SHOWN_BYTES = 100_000


def kept_values(day: Record) -> dict[str, str]:
    rows = day["kept_rows"]
    tables = sorted(day["kept"].items(), key=lambda item: -item[1])
    return {
        "kept": table(
            ["table", "bytes per corrected position-day"],
            [[f"`{name}`", f"{grown / rows:,.0f}"] for name, grown in tables if grown],
        ),
        "kept_total": f"{sum(day['kept'].values()) / rows:,.0f} bytes",
    }


def year_values(year: Record) -> dict[str, str]:
    first, last = year["first"], year["last"]
    return {
        "year_size": f"{year['positions']:,} positions and {year['dates']:,} days",
        "year": table(
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
        "year_days": table(
            ["", "seconds a day", "PostgreSQL CPU s a day", "WAL MB a day", "plain loop, ms"],
            [
                [
                    f"{which} {year['compared_days']} days",
                    f"{days['seconds']:.3f}",
                    f"{days['postgresql_cpu_seconds']:.3f}",
                    f"{days['wal_bytes'] / 1e6:,.1f}",
                    f"{days['loop_ms']:.1f}",
                ]
                for which, days in (("first", first), ("last", last))
            ],
        ),
        "year_summary": f"The last days take {last['seconds'] / first['seconds']:.2f} times as "
        f"long as the first, and {_ratio(last, first)} times PostgreSQL's CPU. A plain loop, timed "
        f"before each day, took {last['loop_ms'] / first['loop_ms']:.2f} times as long: that is "
        "the machine's part. All other tables "
        f"and indexes take {year['others_per_snapshot_byte']:.2f} bytes for one byte of "
        f"snapshots. {year['rows']:,} position-days were written, {year['rows_due']:,} were due."
        + _written_again(year),
        "year_verified": year["verified"],
    }


def _written_again(year: Record) -> str:
    if year["rows"] <= year["rows_due"]:
        return ""
    return (
        f" The other {year['rows'] - year['rows_due']:,} are of positions that a second correction "
        "of the day reached before the values of the first were published: such a position is "
        "valued again for the dates of both."
    )


def _bytes(size: Record) -> int:
    return int(size["table_bytes"] + size["index_bytes"])


def _ratio(last: Record, first: Record) -> str:
    return f"{last['postgresql_cpu_seconds'] / max(first['postgresql_cpu_seconds'], 0.001):.2f}"


def idle_table(idle: list[Record]) -> str:
    kinds = ("postgresql", "scheduler", "actors", "ray", "client")
    return table(
        [
            "positions",
            "runtime",
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
                f"{i['positions']:,}" if i["positions"] else "",
                i.get("runtime", "ray") if i["positions"] else i["workload"],
                f"{i['total_cpu_per_minute']:.2f}",
                *(f"{i['cpu_per_minute'].get(kind, 0):.2f}" for kind in kinds),
                f"{i['wal_bytes']:,}",
                f"{i['seconds']:g}",
            ]
            for i in idle
        ],
    )


def load_table(loads: list[Record]) -> str:
    return table(
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
