"""Progress of a command on standard error, in one line that is redrawn.

All commands say it in the same form: what, how much, percent, speed, time that is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias

from rich.live import Live
from rich.text import Text

from revalue.console.cli.output import counted, err

if TYPE_CHECKING:  # most commands draw one of these lines or none, and need not load the others
    from revalue.engine.correct.loads.load_progress import LoadProgress
    from revalue.engine.correct.loads.load_progress import OnProgress as OnLoadProgress
    from revalue.engine.export.export import ExportProgress
    from revalue.engine.export.export import OnProgress as OnExportProgress
    from revalue.engine.operate.prune import OnProgress as OnPruneProgress
    from revalue.engine.operate.prune import PruneProgress
    from revalue.engine.postgres.schema import OnMigration
    from revalue.engine.preview.preview import OnProgress as OnPreviewProgress
    from revalue.engine.runtime import OnProgress, RunProgress

OnRows: TypeAlias = Callable[[int, float | None], None]
"""Called with the number of rows that are done, and which part of all that is; None: not known."""

OnDate: TypeAlias = Callable[[int, date | None, float], None]
"""Called with the position-days that are read, the last date, and which part of all that is."""


_Given = ParamSpec("_Given")


@contextmanager
def _line(
    as_line: Callable[_Given, Text], *, first: Text | None = None
) -> Iterator[Callable[_Given, None]]:
    """Draw `first`; give what draws the line that `as_line` makes of its arguments instead."""
    with Live(first, console=err, refresh_per_second=8, transient=True) as live:

        def draw(*given: _Given.args, **named: _Given.kwargs) -> None:
            live.update(as_line(*given, **named))

        yield draw


def _line_if(
    show: bool, as_line: Callable[_Given, Text], *, first: Text | None = None
) -> AbstractContextManager[Callable[_Given, None] | None]:
    """Draw as `_line` does, or nothing: then None is given."""
    return _line(as_line, first=first) if show else nullcontext()


def progress_line(title: str, *, show: bool = True) -> AbstractContextManager[OnProgress | None]:
    """Draw the progress of a run in this block.

    Yields:
        what to pass to the run as `on_progress`; None if nothing is drawn.
    """
    return _line_if(show, partial(describe_progress, title))


def preview_line(*, show: bool = True) -> AbstractContextManager[OnPreviewProgress | None]:
    """Draw how many position-days of a preview are valued, in this block.

    Yields:
        what to pass to the preview as `on_progress`; None if nothing is drawn.
    """
    return _line_if(show, _timed(describe_preview), first=describe("planning"))


def load_line(*, show: bool = True) -> AbstractContextManager[OnLoadProgress | None]:
    """Draw the progress of a load in this block.

    Yields:
        what to pass to the load as `on_progress`; None if nothing is drawn.
    """
    return _line_if(show, describe_load)


def prune_line(*, show: bool = True) -> AbstractContextManager[OnPruneProgress | None]:
    """Draw the progress of a prune in this block.

    Yields:
        what to pass to the prune as `on_progress`; None if nothing is drawn.
    """
    return _line_if(show, describe_prune)


def verify_line(*, show: bool = True) -> AbstractContextManager[OnRows | None]:
    """Draw how many rows are compared, in this block.

    Yields:
        what to call with it; None if nothing is drawn.
    """
    return _line_if(show, _timed(describe_verify))


def read_line() -> AbstractContextManager[OnDate]:
    """Draw how many position-days are read, and up to which date, in this block.

    Yields:
        what to call with it.
    """
    return _line(_timed(describe_read))


def export_line() -> AbstractContextManager[OnExportProgress]:
    """Draw how many months are written, in this block.

    Yields:
        what to pass to the export as `on_progress`.
    """
    return _line(_timed(describe_export))


def migrate_line(*, show: bool = True) -> AbstractContextManager[OnMigration | None]:
    """Draw how many migrations are done, in this block.

    Yields:
        what to pass to the migration as `on_migration`; None if nothing is drawn.
    """
    return _line_if(show, _timed(describe_migration))


def _timed(as_line: Callable[Concatenate[float, _Given], Text]) -> Callable[_Given, Text]:
    """Give `as_line` the seconds since now as its first argument."""
    begun = time.monotonic()

    def of_now(*given: _Given.args, **named: _Given.kwargs) -> Text:
        return as_line(time.monotonic() - begun, *given, **named)

    return of_now


def describe(
    what: str,
    count: str = "",
    *,
    fraction: float | None = None,
    speed: tuple[int, str] | None = None,
    seconds: float = 0.0,
    more: Sequence[str] = (),
) -> Text:
    """Return the progress of any command as a line. A terminal shows as much of it as it is wide.

    Args:
        what: what is done.
        count: how much of it.
        fraction: which part of all that is, from 0 to 1; None: it is not known, and the time that
            is left neither.
        speed: what is done in `seconds`, and its unit.
        seconds: how long it has taken.
        more: what else there is to say.
    """
    cells = [count] if count else []
    if fraction is not None:
        cells.append(f"{fraction:.0%}")
    if speed is not None and seconds:
        done, unit = speed
        cells.append(f"{done / seconds:,.0f}{f' {unit}' if unit else ''}/s")
    if fraction:
        cells.append(_left(seconds * (1 - fraction) / fraction))
    line = Text(what, style="bold", no_wrap=True, overflow="ellipsis")
    for cell in (*cells, *more):
        line.append(f"  {cell}", style="not bold")
    return line


def _left(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min left"


def describe_prune(now: PruneProgress) -> Text:
    """Return the progress of a prune as a line. One table takes longer than another."""
    part = [] if now.fraction is None else [f"{now.fraction:.0%}"]
    return describe(now.table, counted(now.rows, "row"), more=part)


def describe_load(now: LoadProgress) -> Text:
    """Return the progress of a load as a line."""
    return describe(
        now.step,
        counted(now.rows, "row"),
        fraction=now.fraction,
        speed=(now.rows, "rows") if now.fraction else None,
        seconds=now.seconds,
    )


def describe_preview(seconds: float, valued: int, of_all: int) -> Text:
    """Return the progress of a preview as a line."""
    return describe(
        "valuing",
        f"{valued:,} of {counted(of_all, 'position-day')}",
        fraction=valued / of_all if of_all else None,
        speed=(valued, ""),
        seconds=seconds,
    )


def describe_verify(seconds: float, rows: int, fraction: float | None) -> Text:
    """Return the progress of a comparison with the reference valuation as a line."""
    return describe(
        "verifying",
        counted(rows, "row"),
        fraction=fraction,
        speed=(rows, "rows"),
        seconds=seconds,
    )


def describe_read(seconds: float, rows: int, day: date | None, fraction: float) -> Text:
    """Return the progress of a report as a line."""
    return describe(
        "reading",
        f"{counted(rows, 'position-day')}{f', up to {day}' if day else ''}",
        fraction=fraction,
        speed=(rows, ""),
        seconds=seconds,
    )


def describe_export(seconds: float, now: ExportProgress) -> Text:
    """Return the progress of an export as a line."""
    return describe(
        "exporting",
        f"{counted(now.rows, 'row')}, {now.months_done} of {counted(now.months, 'month')}",
        fraction=now.months_done / now.months,
        speed=(now.rows, "rows"),
        seconds=seconds,
    )


def describe_migration(seconds: float, revision: str, done: int, of_all: int) -> Text:
    """Return the progress of a migration as a line.

    It has no time that is left: one migration rewrites a large table, the next one a function.
    """
    count = f"at revision {revision}, {done} of {counted(of_all, 'migration')}"
    return describe("migrating", count, more=(f"{done / of_all:.0%}", f"{seconds:.0f} s"))


def describe_progress(title: str, now: RunProgress) -> Text:
    """Return the progress of a run as a line."""
    waiting = "paused" if now.paused else "idle" if now.idle else ""
    in_flight = f"{counted(now.tasks_in_flight, 'task')} in flight"
    left = now.position_days_left
    return describe(
        title,
        counted(now.rows_written, "position-day"),
        fraction=now.rows_written / (now.rows_written + left) if left else None,
        speed=(now.rows_written, ""),
        seconds=now.seconds,
        more=(
            now.trouble or (in_flight if now.tasks_in_flight or not waiting else waiting),
            counted(now.spans_finished, "span"),
            f"{counted(now.positions_invalidated, 'position')} invalidated",
            f"{now.seconds:.0f} s",
        ),
    )
