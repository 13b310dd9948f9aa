"""Progress of a command on standard error, in one line that is redrawn.

All commands say it in the same form: what, how much, percent, speed, time that is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, TypeAlias

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


@contextmanager
def _line(*, show: bool = True) -> Iterator[Callable[[Text], None] | None]:
    """Give what redraws the line in this block; None if nothing is drawn."""
    if not show:
        yield None
        return
    with Live(console=err, refresh_per_second=8, transient=True) as live:
        yield live.update


@contextmanager
def progress_line(title: str, *, show: bool = True) -> Iterator[OnProgress | None]:
    """Draw the progress of a run in this block.

    Yields:
        what to pass to the run as `on_progress`; None if nothing is drawn.
    """
    with _line(show=show) as draw:
        yield draw and (lambda now: draw(describe_progress(title, now)))


@contextmanager
def preview_line(*, show: bool = True) -> Iterator[OnPreviewProgress | None]:
    """Draw how many position-days of a preview are valued, in this block.

    Yields:
        what to pass to the preview as `on_progress`; None if nothing is drawn.
    """
    with _line(show=show) as draw:
        if draw is None:
            yield None
            return
        draw(describe("planning"))
        begun = time.monotonic()
        yield lambda valued, of_all: draw(
            describe(
                "valuing",
                f"{valued:,} of {counted(of_all, 'position-day')}",
                fraction=valued / of_all if of_all else None,
                speed=(valued, ""),
                seconds=time.monotonic() - begun,
            )
        )


@contextmanager
def load_line(*, show: bool = True) -> Iterator[OnLoadProgress | None]:
    """Draw the progress of a load in this block.

    Yields:
        what to pass to the load as `on_progress`; None if nothing is drawn.
    """
    with _line(show=show) as draw:
        yield draw and (lambda now: draw(describe_load(now)))


@contextmanager
def prune_line(*, show: bool = True) -> Iterator[OnPruneProgress | None]:
    """Draw the progress of a prune in this block.

    Yields:
        what to pass to the prune as `on_progress`; None if nothing is drawn.
    """
    with _line(show=show) as draw:
        yield draw and (lambda now: draw(describe_prune(now)))


@contextmanager
def verify_line(*, show: bool = True) -> Iterator[OnRows | None]:
    """Draw how many rows are compared, in this block.

    Yields:
        what to call with it; None if nothing is drawn.
    """
    begun = time.monotonic()
    with _line(show=show) as draw:
        yield draw and (
            lambda rows, fraction: draw(describe_verify(rows, fraction, time.monotonic() - begun))
        )


@contextmanager
def read_line() -> Iterator[OnDate]:
    """Draw how many position-days are read, and up to which date, in this block.

    Yields:
        what to call with it.
    """
    begun = time.monotonic()
    with _line() as draw:
        assert draw is not None
        yield lambda rows, day, fraction: draw(
            describe_read(rows, day, fraction, time.monotonic() - begun)
        )


@contextmanager
def export_line() -> Iterator[OnExportProgress]:
    """Draw how many months are written, in this block.

    Yields:
        what to pass to the export as `on_progress`.
    """
    begun = time.monotonic()
    with _line() as draw:
        assert draw is not None
        yield lambda now: draw(describe_export(now, time.monotonic() - begun))


@contextmanager
def migrate_line(*, show: bool = True) -> Iterator[OnMigration | None]:
    """Draw how many migrations are done, in this block.

    Yields:
        what to pass to the migration as `on_migration`; None if nothing is drawn.
    """
    begun = time.monotonic()
    with _line(show=show) as draw:
        yield draw and (
            lambda revision, done, of_all: draw(
                describe_migration(revision, done, of_all, time.monotonic() - begun)
            )
        )


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


def describe_verify(rows: int, fraction: float | None, seconds: float) -> Text:
    """Return the progress of a comparison with the reference valuation as a line."""
    return describe(
        "verifying",
        counted(rows, "row"),
        fraction=fraction,
        speed=(rows, "rows"),
        seconds=seconds,
    )


def describe_read(rows: int, day: date | None, fraction: float, seconds: float) -> Text:
    """Return the progress of a report as a line."""
    return describe(
        "reading",
        f"{counted(rows, 'position-day')}{f', up to {day}' if day else ''}",
        fraction=fraction,
        speed=(rows, ""),
        seconds=seconds,
    )


def describe_export(now: ExportProgress, seconds: float) -> Text:
    """Return the progress of an export as a line."""
    return describe(
        "exporting",
        f"{counted(now.rows, 'row')}, {now.months_done} of {counted(now.months, 'month')}",
        fraction=now.months_done / now.months,
        speed=(now.rows, "rows"),
        seconds=seconds,
    )


def describe_migration(revision: str, done: int, of_all: int, seconds: float) -> Text:
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
