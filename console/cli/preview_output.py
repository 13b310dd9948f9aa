"""How a preview is printed: what would be restated, how values would change, how long it takes."""

from revalue.console.cli.correction_output import describe, print_strange
from revalue.console.cli.output import counted, on_dates, out, print_table
from revalue.console.cli.preview_tables import print_changes
from revalue.engine.core.date_ranges import DateRange
from revalue.engine.preview.preview import Estimate, Preview


def print_preview(told: Preview, *, show_all: bool = False) -> None:
    """Print what would be restated, how values would change, and how long it would take.

    Args:
        told: the preview.
        show_all: print each portfolio, and all positions that the preview has.
    """
    out.print(f"{describe(told.correction)} (not written)")
    print_strange(told.correction)
    if not told.positions:
        out.print("no valued position-day would change")
        return
    dates = f" {on_dates([DateRange(told.first_date, told.last_date)])}" if told.first_date else ""
    out.print(
        f"would restate {counted(told.positions, 'position')}, "
        f"{counted(told.position_days, 'position-day')}{dates}; {_time(told.estimate)}"
    )
    print_changes(told, show_all=show_all)
    if told.waiting:
        print_table(
            f"{counted(told.without_value, 'position-day')} would have no value, because data is "
            "missing",
            ("reason", "positions"),
            told.waiting.items(),
        )


def _time(estimate: Estimate | None) -> str:
    if estimate is None:
        return "time unknown: no finished jobs to estimate from"
    larger = (
        "; those jobs were larger, and rows of small jobs take longer"
        if estimate.bound == "at least"
        else ""
    )
    return (
        f"{estimate.bound} {estimate.seconds:,.2g} s, estimated from "
        f"{counted(estimate.jobs, 'recorded job')} ({estimate.rows_per_second:,.0f} rows/s){larger}"
    )
