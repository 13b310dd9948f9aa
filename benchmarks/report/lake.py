"""The section of docs/performance.md about the lake: a backfill into PostgreSQL and into files."""

from revalue.benchmarks.report.form import PROCESSES, Record, Target, table


def lake_values(lake: list[Record], cores: int) -> dict[str, str]:
    """Return the table of the runs, and what a lake could reach on this machine at most."""
    return {"lake": lake_table(lake), "lake_limit": _limit(lake, cores)}


def _limit(lake: list[Record], cores: int) -> str:
    """Say how fast cores would be that never rest, and what spends their time."""
    in_table, files = _by_two_actors(lake)
    bound = in_table and in_table["baselines"].get("upper-bound, 2 connections")
    if not (in_table and files and bound):
        return ""
    spent = sum(files["cost"]["cpu_seconds"].values()) / files["rows"] * 1e6
    most = cores / spent * 1e6
    return (
        f"Two actors, the scheduler and PostgreSQL spend {spent:.1f} µs of CPU on a row of the "
        f"lake: {cores} cores that never rest would make {most:,.0f} rows/s, {most / bound:.1f} "
        f"times what two connections could send to the table. {_us(files, 'actors'):.1f} µs of it "
        "are the actors', who read the inputs, compute and encode. PostgreSQL's part is "
        f"{_us(files, 'postgresql'):.1f} µs, where the table takes "
        f"{_us(in_table, 'postgresql'):.1f}: with more actors on other machines it is what is left."
    )


def _by_two_actors(lake: list[Record]) -> tuple[Record | None, Record | None]:
    """Return the runs of two actors without a lake, and with one."""
    two = [run for run in lake if run["actors"] == 2]
    return (
        next((run for run in two if run["lake"] is None), None),
        next((run for run in two if run["lake"] is not None), None),
    )


def lake_table(lake: list[Record]) -> str:
    """Return a row per run: store, actors, speed, CPU of each kind of process, log, bytes kept."""
    rows = [
        [
            "table" if run["lake"] is None else "lake",
            str(run["actors"]),
            f"{run['rows_per_second']:,}",
            *(f"{_us(run, name):.2f}" for name in PROCESSES),
            f"{run['cost']['wal_bytes'] / run['rows']:.0f}",
            "" if run["lake"] is None else f"{run['lake']['bytes'] / run['lake']['rows']:.1f}",
        ]
        for run in sorted(lake, key=lambda run: (run["actors"], run["lake"] is not None))
    ]
    return table(_COLUMNS, rows)


_COLUMNS = [
    "store",
    "actors",
    "rows/s",
    "PostgreSQL, µs a row",
    "scheduler, µs a row",
    "actors, µs a row",
    "log, B a row",
    "file, B a row",
]


def targets(lake: list[Record], slower: float | None) -> list[Target]:
    """Return what was asked of the lake, and what was measured.

    Args:
        lake: the runs with a lake and without one.
        slower: see form.times_slower.
    """
    rows: list[Target] = []
    rows_in_table, files = _by_two_actors(lake)
    if rows_in_table is None or files is None:
        return rows

    def at_most(what: str, limit: float, measured: float, unit: str) -> None:
        elsewhere = f"{measured / slower:.3g}{unit}" if slower and unit == " µs" else ""
        asked, found = f"{limit:g}{unit} or less", f"{measured:.3g}{unit}"
        rows.append(Target(what, asked, found, measured <= limit, elsewhere))

    def at_least(what: str, limit: float, measured: float) -> None:
        rows.append(Target(what, f"{limit:g}", f"{measured:.2f}", measured >= limit))

    bound = rows_in_table["baselines"].get("upper-bound, 2 connections")
    if bound:
        what = "`backfill` with a lake against `upper-bound, 2 connections`"
        at_least(what, 1.6, files["rows_per_second"] / bound)
    at_least(
        "the same against the table, in the same minutes",
        1.7,
        files["rows_per_second"] / rows_in_table["rows_per_second"],
    )
    at_most("the same, PostgreSQL CPU a row", 0.35, _us(files, "postgresql"), " µs")
    at_most("the same, log a row", 5, files["cost"]["wal_bytes"] / files["rows"], " B")
    at_most("the same, kept a row", 35, files["lake"]["bytes"] / files["lake"]["rows"], " B")
    return rows


_READ_COLUMNS = ["question", "asked", "by", "as written, ms", "merged, ms", "merged, ms of CPU"]

_QUESTIONS = {
    "total": ("total of everything by currency and date", 500.0),
    "day": ("all positions of one date", 15.0),
    "history": ("one position, 250 dates", 10.0),
    "page": ("the positions of a portfolio on one date", 10.0),
}


def _reads_table(reads: Record) -> str:
    """Return a row per question and reader: milliseconds before and after maintenance."""
    rows = [
        [
            text,
            f"{asked:g}",
            who,
            *(f"{times[state]:,}" for state in ("as written", "merged")),
            f"{reads['cpu_milliseconds'][name][who]['merged']:,}",
        ]
        for name, (text, asked) in _QUESTIONS.items()
        for who, times in reads["milliseconds"][name].items()
    ]
    return table(_READ_COLUMNS, rows)


def lake_reads_values(reads: Record) -> dict[str, str]:
    """Return what the section about reads says of the book, its files and the times."""
    return {
        "lake_reads": _reads_table(reads),
        "lake_reads_rows": f"{reads['rows']:,}",
        "lake_reads_positions": f"{reads['positions']:,}",
        "lake_reads_dates": f"{reads['dates']:,}",
        "lake_reads_written": f"{reads['files']['as written']:,}",
        "lake_reads_merged": f"{reads['files']['merged']:,}",
        "lake_reads_bytes": f"{reads['bytes'] / reads['rows']:.1f}",
    }


def _us(run: Record, process: str) -> float:
    return float(run["cost"]["cpu_seconds"].get(process, 0) / run["rows"] * 1e6)
