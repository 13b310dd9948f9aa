"""What the sections of docs/performance.md share: tables, and what is asked of a record."""

import statistics
from typing import Any, NamedTuple

Record = dict[str, Any]
"""What a measurement has left, as JSON."""


class Target(NamedTuple):
    """What was asked for, how much of it, how much was measured, and whether that is enough.

    Attributes:
        elsewhere: of a time, CPU or speed: about how much that is where the targets were set.
    """

    what: str
    asked: str
    measured: str
    is_met: bool
    elsewhere: str = ""


_FASTER = "upper-bound, 1 connection"


def times_slower(records: Record) -> float | None:
    """Return how many times as long PostgreSQL takes here for the same COPY as where the targets
    were set; None: they were set on this machine.
    """
    there = records.get("machine_of_targets")
    if there is None or there["cpu"] == records["machine"]["cpu"]:
        return None
    return float(there["baselines"][_FASTER] / records["backfill"]["baselines"][_FASTER])


PROCESSES = ("postgresql", "scheduler", "actors")
"""The kinds of processes whose cost is measured apart."""

UNKNOWN = "-"


def table(columns: list[str], rows: list[list[Any]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(
        [*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]
    )


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def median(record: Record) -> float:
    """Return the seconds of the run whose CPU, WAL and phases the record has."""
    return float(record.get("median_seconds") or statistics.median(record["seconds"]))


def spread(record: Record) -> str:
    return f"{record['spread']:.0%}" if len(record["seconds"]) > 1 else "single run"


def postgresql_us(record: Record) -> float:
    return float(record["cost"]["cpu_seconds"].get("postgresql", 0) / record["rows"] * 1e6)


def cpu_us(record: Record) -> float:
    """Return the CPU of all processes for a row."""
    return float(sum(record["cost"]["cpu_seconds"].values()) / record["rows"] * 1e6)


def listed(record: Any) -> list[Record]:
    return record if isinstance(record, list) else [record]


def peaks(record: Record) -> dict[str, int]:
    return record["cost"].get("peak_anonymous_mib") or {}


def largest(record: Record) -> int | None:
    """Return the MiB of the largest process; None: older records did not tell its own memory."""
    return max(peaks(record).values(), default=None)


def workload(records: Record, name: str) -> Record:
    return next(w for w in records["workloads"] if w["workload"] == name)


def correction_day(records: Record) -> Record:
    return workload(records, "correction-day")
