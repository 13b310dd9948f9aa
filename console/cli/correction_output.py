"""How a correction is printed: what it has changed, and what it can affect."""

from typing import TypeAlias

from revalue.console.cli.output import counted, on_dates, out, print_warnings, tidy
from revalue.console.cli.split_output import print_split
from revalue.engine.correct.corrections.corrections import Correction
from revalue.engine.correct.corrections.files import FileCorrection
from revalue.engine.correct.policy.policy import PolicyCorrection
from revalue.engine.correct.reverts.reverts import Revert
from revalue.engine.correct.splits.splits import SplitCorrection

Corrected: TypeAlias = Correction | FileCorrection | SplitCorrection | PolicyCorrection
Made: TypeAlias = Corrected | Revert

_MAX_TRIGGERS = 5


def print_correction(made: Made) -> None:
    """Print what was corrected and which positions and dates it can affect."""
    out.print(describe(made))
    print_strange(made)
    triggers = _triggers(made)
    if not triggers:
        out.print("no valued position-day is affected")
        return
    out.print(f"{triggers}: {affected(made)}; run `revalue value`")


def print_strange(made: Made) -> None:
    """Print what one should look at of a correction: warnings, and the quantities of a split."""
    if isinstance(made, SplitCorrection):
        print_split(made)
    elif isinstance(made, Correction | FileCorrection):
        print_warnings(made.warnings)


def describe(made: Made) -> str:
    """Say in one line what was corrected: `price of A on 2016-03-15 (USD PER_UNIT): 23.9 -> 25`."""
    if isinstance(made, FileCorrection):
        return (
            f"{counted(made.rows, 'row')} of {made.kind}: {made.changed:,} changed, "
            f"{made.unchanged:,} unchanged"
        )
    if isinstance(made, Revert):
        return describe_revert(made)
    if isinstance(made, SplitCorrection):
        return (
            f"split {made.ratio} of {made.security} on {made.date}: "
            f"{counted(made.records, 'record')} of {counted(made.holders, 'position')}"
        )
    if isinstance(made, PolicyCorrection):
        return (
            f"policy: pivot {_becomes(made.old.pivot, made.new.pivot)}, age limit of rates "
            f"{_becomes(made.old.fx_max_age, made.new.fx_max_age)} business days"
        )
    old = "none" if made.old is None else tidy(made.old)
    new = "deleted" if made.new is None else tidy(made.new)
    return f"{made.what}: {old} -> {new}"


def _becomes(old: object, new: object) -> str:
    return str(new) if old == new else f"{old} -> {new}"


def describe_revert(made: Revert, *, is_done: bool = True) -> str:
    """Say in one line which load is taken back, and what becomes of its rows."""
    will = "is" if is_done else "would be"
    text = (
        f"load {made.reverts} ({made.kind}, {made.source}) {will} taken back: "
        f"{made.restored:,} restored, {made.deleted:,} deleted"
    )
    return text + (f", {made.kept:,} changed since and kept" if made.kept else "")


def affected(made: Made) -> str:
    """Say which positions and dates a correction can affect at most."""
    positions = f"up to {counted(made.positions, 'position')} affected"
    if not isinstance(made, Correction):
        return positions
    return f"{positions} {on_dates(made.dates)}"


def _triggers(made: Made) -> str:
    if isinstance(made, Correction):
        return "" if made.trigger_id is None else f"trigger {made.trigger_id}"
    if not made.positions:
        return ""
    shown = ", ".join(str(number) for number in made.trigger_ids[:_MAX_TRIGGERS])
    more = len(made.trigger_ids) - _MAX_TRIGGERS
    noun = "trigger" if len(made.trigger_ids) == 1 else "triggers"
    return f"{noun} {shown}" + (f" and {more:,} more" if more > 0 else "")
