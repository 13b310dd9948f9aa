"""The sections about the limit of one scheduler, and of ten million positions on many nodes."""

import math

from revalue.benchmarks.report.form import Record, counted, cpu_us, median, table, workload

_LIMIT_STEPS = ("scan", "stage", "apply")

_LIMIT_SESSIONS = {
    "scan": "its scans",
    "steps": "its other steps",
    "commit": "commits of the actors",
    "rest": "log, checkpoints, vacuum",
}

_NODES, _NODE_CORES = 50, 8

ESTIMATED_POSITIONS = 10_000_000


def scheduler_limit_values(limits: list[Record]) -> dict[str, str]:
    first = limits[0]
    return {
        "scheduler_limit_actors": f"{first['actors']:,}",
        "scheduler_limit_row_us": f"{first['row_us']:g}",
        "scheduler_limit_task_ms": f"{first['task_ms']:g}",
        "scheduler_limit": table(
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
        "scheduler_limit_cpu": table(
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


def estimate(records: Record) -> dict[str, str]:
    """Estimate 10 million positions on 50 nodes of 8 cores from the measured constants alone."""
    day, book, scan = (
        workload(records, "correction-day"),
        workload(records, "backfill"),
        records["scan"],
    )
    roll = workload(records, "roll")
    rates = records["backfill"]["baselines"]
    positions = ESTIMATED_POSITIONS
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
        "day_server": f"{day['cost']['cpu_seconds']['postgresql'] / median(day):.2f}",
        "day_seconds": f"{median(day):.2f}",
        "day_us": f"{cpu_us(day):.1f}",
        "day_most": f"{records['machine']['cores'] / cpu_us(day) * 1e6:,.0f}",
        "sql_rate": f"{_one_sql(rates):,}",
        "two_times": f"{_two(rates) / _one_sql(rates):.1f}",
        "two_rate": f"{_two(rates):,}",
        "per_job_rate": f"{rates['per-job']:,}",
    }


def estimate_of_scheduler(records: Record) -> dict[str, str]:
    """Estimate the same with the scheduler as it was measured, if it was."""
    if "scheduler_limit" not in records:
        return {"estimate_calculated": ""}
    limit = max(records["scheduler_limit"], key=lambda each: float(each["positions"]))
    roll, book = workload(records, "roll"), workload(records, "backfill")
    positions, times = ESTIMATED_POSITIONS, ESTIMATED_POSITIONS / limit["positions"]
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
        "limit_nodes": counted(math.ceil(actors / seconds / _NODE_CORES), "node"),
        "limit_rows_us": f"{rows / positions * 1e6:.1f}",
        "limit_rows": f"{rows:,.0f}",
        "limit_cores": f"{(sum(of_server) + rows) / seconds:.1f}",
        "limit_wal_rate": f"{wal / seconds / 1e6:,.0f}",
    }


def _one_sql(rates: dict[str, float]) -> float:
    return next(rate for name, rate in rates.items() if name.startswith("sql"))


def _two(rates: dict[str, float]) -> float:
    return max(rate for name, rate in rates.items() if name.startswith("upper-bound"))
