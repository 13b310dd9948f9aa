"""`revalue status`: how many positions are current, and why the others are not."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, format_time, out, print_json, print_table
from revalue.engine.operate.status import Status, read_status

_STATES = {
    "CURRENT": "current",
    "BEHIND": "behind",
    "REPROCESSING": "being reprocessed",
    "WAITING_FOR_DATA": "waiting for data",
    "FAILED": "failed",
}
_REASON = ("reason", "positions", "example")
_MAX_REASONS = 5
_OLD_DAYS = 4  # a long weekend, as in the alert RevalueDayNotOpened
_NOW_SECONDS = 1  # a count takes that long itself


def status(
    ctx: typer.Context,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Count the positions now. Otherwise many are counted now and then."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how many positions are current, and why the others are not.

    Up to 20,000 positions are counted each time. More are counted so seldom, while they change,
    that it takes a twentieth of the time; the output says when they were counted.
    """
    found = CliContext.of(ctx).run(partial(read_status, exact=exact))
    if as_json:
        print_json(as_dict(found))
    else:
        print_status(found)
        if said := old_horizon(found):
            out.print(said)


def as_dict(status: Status) -> dict[str, Any]:
    """Return the status for programs, with the names that it has over HTTP."""
    reasons = [dict(zip(_REASON, reason, strict=True)) for reason in status.reasons]
    return {**asdict(status), "reasons": reasons, "is_current": status.is_current}


def print_status(status: Status) -> None:
    """Print the number of positions by state, what is queued, and what positions wait for."""
    if status.positions:
        print_table("Positions", ("state", "positions"), status.positions.items())
    else:
        out.print("there are no positions: `revalue load positions FILE` loads them")
    out.print(
        f"{watermarks(status)}; {counted(status.triggers_queued, 'trigger')} queued, "
        f"{counted(status.jobs_deferred, 'job')} deferred, "
        f"{counted(status.dead_letters, 'dead letter')}"
    )
    if status.counted_seconds_ago >= _NOW_SECONDS:
        out.print(counted_when(status))
    if status.calendars_not_opened:
        out.print(not_opened(status))
    if status.paused_at:
        out.print(
            f"paused since {format_time(status.paused_at)} by {status.paused_by}: "
            "`revalue resume` ends the pause"
        )
    if status.reasons:
        print_table("Why positions wait or failed", _REASON, status.reasons)


def watermarks(status: Status) -> str:
    """Say up to which dates positions are valued, and the horizon up to which they should be."""
    first, last = status.first_watermark, status.last_watermark
    if last is None:
        valued = "no position is valued yet"
    elif first == last:
        valued = f"all watermarks at {first}"
    else:
        valued = f"watermarks from {first or 'none'} to {last}"
    return f"{valued}, horizon {status.horizon or 'none'}{_holes(status)}"


def _holes(status: Status) -> str:
    """Say from when to when dates have no value, and that later dates are valued all the same."""
    first, last = status.first_hole, status.last_hole
    if first is None:
        return ""
    dates = f"on {first}" if first == last else f"from {first} to {last}"
    return f"; holes (dates without a value) {dates}, valued through {status.frontier_of_holes}"


def counted_when(status: Status) -> str:
    """Say how old the counts are, and what gives new ones."""
    changed = (
        "; something was corrected, opened, added or retried since"
        if status.changed_since_count
        else ""
    )
    return (
        f"counted {status.counted_seconds_ago:.0f} s ago, at {format_time(status.counted_at)}"
        f"{changed}: `revalue status --exact` counts now"
    )


def not_opened(status: Status) -> str:
    """Say of which calendars nothing is opened, and what opens them; there is one at least."""
    calendars = status.calendars_not_opened
    noun = "calendar" if len(calendars) == 1 else "calendars"
    return (
        f"nothing of {noun} {', '.join(calendars)} is opened, so their positions are not valued: "
        "`revalue open DATE` opens the business days up to a date"
    )


def old_horizon(status: Status) -> str:
    """Say that no business day was opened for long; empty: one was, or nothing is opened at all."""
    days = (status.read_at.date() - status.horizon).days if status.horizon else 0
    if days <= _OLD_DAYS:
        return ""
    return (
        f"the last opened business day is {counted(days, 'day')} ago: later ones are not due "
        "before `revalue open DATE` opens them"
    )


def positions_by_state(status: Status) -> str:
    """Say the number of positions by state: `3 positions behind, 1 position failed`."""
    return ", ".join(
        f"{counted(positions, 'position')} {_STATES[state]}"
        for state, positions in status.positions.items()
    )


def what_is_left(status: Status) -> str:
    """Say in one line what a run has left to do, and why."""
    if status.is_current:
        return "nothing is left: every position is current"
    others = {state: n for state, n in status.positions.items() if state != "CURRENT"}
    states = ", ".join(f"{counted(n, 'position')} {_STATES[state]}" for state, n in others.items())
    reasons = "; ".join(
        f"{counted(positions, 'position')}: {example}"
        for _, positions, example in status.reasons[:_MAX_REASONS]
    )
    queued = (
        f"{counted(status.triggers_queued, 'trigger')} queued" if status.triggers_queued else ""
    )
    paused = "paused by an operator: `revalue resume` ends the pause" if status.paused_at else ""
    return "not every position is current: " + "; ".join(
        part for part in (states, reasons, queued, paused) if part
    )
