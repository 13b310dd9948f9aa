"""Progress of a run, a preview or a load on standard error, in one line that is redrawn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

from rich.live import Live
from rich.table import Table
from rich.text import Text

from revalue.console.cli.output import counted, err
from revalue.engine.correct.load_progress import LoadProgress
from revalue.engine.correct.load_progress import OnProgress as OnLoadProgress
from revalue.engine.operate.prune import OnProgress as OnPruneProgress
from revalue.engine.operate.prune import PruneProgress
from revalue.engine.preview.preview import OnProgress as OnPreviewProgress
from revalue.engine.runtime import OnProgress, RunProgress


@contextmanager
def progress_line(title: str, *, show: bool = True) -> Iterator[OnProgress | None]:
    """Draw the progress of a run in this block.

    Yields:
        what to pass to the run as `on_progress`; None if nothing is drawn.
    """
    if not show:
        yield None
        return
    with Live(console=err, refresh_per_second=8, transient=True) as live:
        yield lambda now: live.update(describe_progress(title, now))


@contextmanager
def preview_line(*, show: bool = True) -> Iterator[OnPreviewProgress | None]:
    """Draw how many position-days of a preview are valued, in this block.

    Yields:
        what to pass to the preview as `on_progress`; None if nothing is drawn.
    """
    if not show:
        yield None
        return
    with Live("planning", console=err, refresh_per_second=8, transient=True) as live:
        yield lambda valued, of_all: live.update(
            f"valuing {valued:,} of {counted(of_all, 'position-day')}"
        )


@contextmanager
def load_line(*, show: bool = True) -> Iterator[OnLoadProgress | None]:
    """Draw the progress of a load in this block.

    Yields:
        what to pass to the load as `on_progress`; None if nothing is drawn.
    """
    if not show:
        yield None
        return
    with Live(console=err, refresh_per_second=8, transient=True) as live:
        yield lambda now: live.update(describe_load(now))


@contextmanager
def prune_line(*, show: bool = True) -> Iterator[OnPruneProgress | None]:
    """Draw the progress of a prune in this block.

    Yields:
        what to pass to the prune as `on_progress`; None if nothing is drawn.
    """
    if not show:
        yield None
        return
    with Live(console=err, refresh_per_second=8, transient=True) as live:
        yield lambda now: live.update(describe_prune(now))


@contextmanager
def read_line() -> Iterator[Callable[[int, date | None], None]]:
    """Draw how many position-days are read, and up to which date, in this block.

    Yields:
        what to call with both.
    """
    with Live(console=err, refresh_per_second=8, transient=True) as live:
        yield lambda rows, day: live.update(
            f"{counted(rows, 'position-day')}{f', up to {day}' if day else ''}"
        )


def describe_prune(now: PruneProgress) -> Table:
    """Return the progress of a prune as a row."""
    table = Table.grid(padding=(0, 2))
    cells: list[str | Text] = [Text(now.table, style="bold"), counted(now.rows, "row")]
    if now.fraction is not None:
        cells.append(f"{now.fraction:.0%}")
    table.add_row(*cells)
    return table


def describe_load(now: LoadProgress) -> Table:
    """Return the progress of a load as a row."""
    table = Table.grid(padding=(0, 2))
    cells: list[str | Text] = [Text(now.step, style="bold"), counted(now.rows, "row")]
    if now.fraction:
        left = now.seconds * (1 - now.fraction) / now.fraction
        speed = now.rows / now.seconds if now.seconds else 0
        cells += [f"{now.fraction:.0%}", f"{speed:,.0f} rows/s", f"{left:.0f} s left"]
    table.add_row(*cells)
    return table


def describe_progress(title: str, now: RunProgress) -> Table:
    """Return the progress of a run as a row."""
    waiting = "paused" if now.paused else "idle" if now.idle else ""
    in_flight = f"{counted(now.tasks_in_flight, 'task')} in flight"
    table = Table.grid(padding=(0, 2))
    table.add_row(
        Text(title, style="bold"),
        counted(now.rows_written, "position-day"),
        f"{now.rows_written / now.seconds if now.seconds else 0:,.0f}/s",
        counted(now.spans_finished, "span"),
        f"{counted(now.positions_invalidated, 'position')} invalidated",
        now.trouble or (in_flight if now.tasks_in_flight or not waiting else waiting),
        f"{now.seconds:.0f} s",
    )
    return table
