"""Tables and sentences of what `revalue bench` has measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from revalue.console.cli.output import counted, out, print_table

if TYPE_CHECKING:
    from revalue.benchmarks.demo import DemoOutcome
    from revalue.benchmarks.harness import Outcome
    from revalue.benchmarks.idle import IdleOutcome
    from revalue.benchmarks.load import LoadOutcome
    from revalue.benchmarks.scheduler_limit import SchedulerLimitOutcome
    from revalue.benchmarks.small import SmallOutcome
    from revalue.benchmarks.year import YearOutcome

    AnyOutcome = (
        Outcome
        | YearOutcome
        | IdleOutcome
        | SmallOutcome
        | DemoOutcome
        | LoadOutcome
        | SchedulerLimitOutcome
    )

_SHOWN_BYTES = 100_000  # the many tables of a few rows say nothing


def print_outcomes(outcomes: "list[AnyOutcome]") -> None:
    """Print a table or a sentence for each outcome; runs of the engine and loads share theirs."""
    from revalue.benchmarks.demo import DemoOutcome
    from revalue.benchmarks.harness import Outcome
    from revalue.benchmarks.idle import IdleOutcome
    from revalue.benchmarks.load import LoadOutcome
    from revalue.benchmarks.scheduler_limit import SchedulerLimitOutcome
    from revalue.benchmarks.small import SmallOutcome
    from revalue.benchmarks.year import YearOutcome

    if done := [each for each in outcomes if isinstance(each, Outcome)]:
        _print_runs(done)
    if loads := [each for each in outcomes if isinstance(each, LoadOutcome)]:
        _print_loads(loads)
    for each in outcomes:
        if isinstance(each, YearOutcome):
            _print_year(each)
        elif isinstance(each, SchedulerLimitOutcome):
            out.print(_describe_limit(each))
        elif isinstance(each, SmallOutcome):
            print_table(
                f"One corrected price, {each.rows:,} of {each.positions:,} positions: seconds of "
                "`revalue value`",
                ("runtime", "median", "all"),
                [
                    (name, f"{each.median_seconds[name]:.2f}", ", ".join(map(str, found)))
                    for name, found in each.seconds.items()
                ],
            )
        elif isinstance(each, DemoOutcome):
            out.print(
                f"demo, {counted(each.rows, 'position-day')}: {each.median_seconds:.1f} s from an "
                f"empty data folder to the picture (all: {', '.join(map(str, each.seconds))})"
            )
        elif isinstance(each, IdleOutcome):
            out.print(
                f"idle, {each.positions:,} positions: {each.total_cpu_per_minute:.2f} CPU seconds "
                f"a minute ({_listed(each.cpu_per_minute)}); "
                f"{counted(each.wal_bytes, 'byte')} of WAL in {each.seconds:g} s; largest process "
                f"in MiB: {_listed(each.peak_anonymous_mib)}"
            )


def _describe_limit(limit: "SchedulerLimitOutcome") -> str:
    cpu = {"scheduler": limit.scheduler_cpu_seconds, **limit.postgresql_cpu_seconds}
    return (
        f"scheduler-limit, one new day of {limit.positions:,} positions, {limit.actors:,} waiting "
        f"actors: {limit.seconds:.2f} s, {limit.positions / limit.seconds:,.0f} positions/s in "
        f"{counted(limit.tasks, 'task')}; seconds by step: {_listed(limit.step_seconds)}; "
        f"CPU seconds: {_listed(cpu)}; WAL: {limit.wal_bytes / limit.positions:,.0f} bytes per "
        f"position; of the actors {limit.valuing:.1f} were valuing on average, "
        f"{limit.committing:.1f} committing, the others waited for work; largest process in MiB: "
        f"scheduler {limit.peak_anonymous_mib}; verified {limit.verified}"
    )


def _print_loads(loads: "list[LoadOutcome]") -> None:
    print_table(
        "Loads of a file, the first one and the same again",
        (
            "what",
            "file",
            "rows",
            "load",
            "s",
            "rows/s",
            "PostgreSQL us per row",
            "client us per row",
            "WAL bytes per row",
            "client MiB, before",
            "PostgreSQL MiB",
        ),
        [
            (
                each.what,
                each.file,
                each.rows,
                name,
                f"{cost['seconds']:.2f}",
                cost["rows_per_second"],
                f"{cost['postgresql_us']:.2f}",
                f"{cost['client_us']:.2f}",
                f"{cost['wal_bytes']:,.0f}",
                f"{cost['client_mib']:,}, {cost['client_mib_before']:,}",
                cost["postgresql_mib"],
            )
            for each in loads
            for name, cost in (("first", each.first), ("again", each.again))
        ],
    )


def _print_year(year: "YearOutcome") -> None:
    print_table(
        f"A year of {year.dates} days with {year.positions:,} positions",
        ("table", "rows", "table MB", "indexes MB"),
        [
            (
                name,
                size["rows"],
                f"{size['table_bytes'] / 1e6:,.1f}",
                f"{size['index_bytes'] / 1e6:,.1f}",
            )
            for name, size in year.sizes.items()
            if size["table_bytes"] + size["index_bytes"] >= _SHOWN_BYTES
        ],
    )
    assert year.first is not None
    assert year.last is not None
    print_table(
        f"The mean of the first and of the last {counted(year.compared_days, 'day')}",
        ("days", "seconds", "PostgreSQL CPU s", "WAL MB"),
        [
            (
                name,
                f"{days.seconds:.3f}",
                f"{days.postgresql_cpu_seconds:.3f}",
                f"{days.wal_bytes / 1e6:,.1f}",
            )
            for name, days in (("first", year.first), ("last", year.last))
        ],
    )
    out.print(
        f"year: {year.seconds:,.1f} s, the last days {year.last.seconds / year.first.seconds:.2f} "
        f"times the first; {counted(year.rows, 'row')} written, {year.rows_due:,} were due; all "
        f"other tables take {year.others_per_snapshot_byte:.2f} bytes for one byte of snapshots; "
        f"largest process in MiB: {_listed(year.peak_anonymous_mib)}; verified {year.verified}"
    )


def _print_runs(done: "list[Outcome]") -> None:
    columns = ("workload", "positions", "dates", "actors", "rows", "median s", "rows/s", "spread")
    print_table(
        "Engine, from committed input until every position is current",
        columns,
        [
            (
                outcome.workload,
                outcome.positions,
                outcome.dates,
                outcome.actors,
                outcome.rows,
                f"{outcome.median_seconds:.2f}",
                int(outcome.rows_per_second),
                f"{outcome.spread:.0%}" if len(outcome.seconds) > 1 else "single run",
            )
            for outcome in done
        ],
    )
    rows = [
        (outcome.workload, name, int(rate), f"{outcome.ratios[name]:.2f}")
        for outcome in done
        for name, rate in outcome.baselines.items()
    ]
    if rows:
        print_table(
            "Baselines, in the same run",
            ("workload", "baseline", "rows/s", "engine / baseline"),
            rows,
        )
    for outcome in done:
        out.print(_describe_cost(outcome))
        for name, notes in outcome.baseline_notes.items():
            out.print(f"{name}: {', '.join(f'{what} {found}' for what, found in notes.items())}")


def _describe_cost(outcome: "Outcome") -> str:
    rows, cpu = max(outcome.rows, 1), outcome.cost["cpu_seconds"]
    kept = (
        f"kept for ever: {sum(outcome.kept.values()) / outcome.kept_rows:,.0f} bytes per row; "
        if outcome.kept_rows
        else ""
    )
    return (
        f"{outcome.workload}, in the run of {outcome.median_seconds:.2f} s: "
        f"{counted(outcome.jobs, 'span')}, {_describe_sent(outcome)}; "
        f"CPU seconds: {_listed(cpu)}; "
        f"of PostgreSQL {cpu.get('postgresql', 0) / rows * 1e6:.1f} us per row; "
        f"largest process in MiB: {_listed(outcome.cost['peak_anonymous_mib'])}; "
        f"WAL: {outcome.cost['wal_bytes'] / rows:,.0f} bytes per row; {kept}"
        f"seconds by phase: {_listed(outcome.phases)}; "
        f"verified {outcome.verified}"
    )


def _describe_sent(outcome: "Outcome") -> str:
    sent, name = outcome.server_statements, "SQL statement"
    if sent is None:
        sent, name = outcome.statements, "named SQL statement"
    return f"{counted(sent, name)} ({sent / max(outcome.rows, 1) * 1000:.1f} per 1,000 rows)"


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {figure:,}" for name, figure in figures.items()) or "none"
