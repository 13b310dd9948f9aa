"""What a correction did, or would do, in words and tables."""

from typing import TypeAlias

from revalue.console.cli.output import out, print_table, tidy
from revalue.engine.correct.corrections import Correction, FileCorrection
from revalue.engine.preview.preview import Preview

Made: TypeAlias = Correction | FileCorrection

_MOST_LINES = 20


def print_correction(made: Made) -> None:
    """What was corrected and what it reaches."""
    out.print(_what(made), markup=False)
    if isinstance(made, FileCorrection):
        triggers = [f"trigger {number}" for number in made.trigger_ids[:5]] + ["..."] * (
            len(made.trigger_ids) > 5
        )
        reach = ", ".join(triggers) if made.positions else ""
    else:
        reach = f"trigger {made.trigger_id}" if made.trigger_id is not None else ""
    if not reach:
        out.print("nothing that is already valued can have changed")
        return
    dates = f", {', '.join(map(str, made.dates))}" if isinstance(made, Correction) else ""
    out.print(
        f"{reach}: up to {made.positions:,} positions{dates}; run `revalue value`", markup=False
    )


def print_preview(told: Preview) -> None:
    """What would be revalued, what it would change, and how long it would take."""
    out.print(f"{_what(told.correction)} (not written)", markup=False)
    if not told.positions:
        out.print("nothing that is already valued would change")
        return
    if told.estimate is None:
        time = "time unknown: no finished jobs to go by"
    else:
        took = told.estimate
        larger = (
            "; those are larger, and a row of a small job costs more"
            if took.bound == "at least"
            else ""
        )
        speed = f"{took.jobs:,} recorded jobs ({took.rows_per_second:,.0f} rows/s){larger}"
        time = f"{took.bound} {took.seconds:,.2g} s, by {speed}"
    dates = f" from {told.first_date} to {told.last_date}" if told.first_date else ""
    out.print(
        f"would revalue {told.positions:,} positions, {told.position_days:,} position-days{dates}; {time}"
    )
    print_table(
        "Market value of the revalued positions, on the date it changes most",
        (
            "portfolio",
            "currency",
            "positions",
            "position-days",
            "date",
            "before",
            "after",
            "change",
        ),
        [
            (
                line.portfolio_id,
                line.base_currency,
                line.positions,
                line.position_days,
                line.date,
                f"{line.market_value_before:,.2f}",
                f"{line.market_value_after:,.2f}",
                f"{line.change:+,.2f}",
            )
            for line in sorted(
                told.portfolios, key=lambda line: (line.base_currency, -abs(line.change))
            )[:_MOST_LINES]
        ],
    )
    if len(told.portfolios) > _MOST_LINES:
        out.print(f"{len(told.portfolios) - _MOST_LINES:,} more portfolios: see --json")
    print_table(
        "Biggest movers",
        ("portfolio", "security", "currency", "date", "before", "after", "change"),
        [
            (
                mover.portfolio_id,
                mover.security_id,
                mover.base_currency,
                mover.date,
                f"{mover.market_value_before:,.2f}",
                f"{mover.market_value_after:,.2f}",
                f"{mover.change:+,.2f}",
            )
            for mover in told.movers
        ],
    )
    if told.waiting:
        print_table(
            "Would wait for data, and go on showing what they show now",
            ("reason", "positions"),
            told.waiting.items(),
        )


def _what(made: Made) -> str:
    if isinstance(made, FileCorrection):
        return f"{made.rows:,} rows of {made.kind}: {made.changed:,} changed, {made.unchanged:,} as they were"
    return f"{made.what}: {tidy(made.old)} -> {tidy(made.new)}"
