"""`revalue value`: runs the engine on Ray until every key is current, and shows how far it is."""

import time
from typing import Any

import ray
from rich.live import Live
from rich.table import Table

from actors import cluster
from console.printing import err
from console.session import with_database
from engine.errors import RevalueError, TermLostError
from engine.runtime import Run
from engine.settings import Settings
from engine.store import reports

_POLL_SECONDS = 0.25
_ANSWER_SECONDS = 60
_MOST_DEATHS = 3  # in a row: of one that Ray starts again, calls are answered or "unavailable"

__all__ = ["Run", "Runner", "run_until_quiet"]


def run_until_quiet(url: str, settings: Settings, *, show: bool) -> Run:
    """The runtime `ray` of engine.runtime: one run on Ray, from a scheduler's start to its end."""
    with Runner(url, settings) as runner:
        return runner.until_quiet(title="valuing", show=show)


class Runner:
    """The engine on Ray, for as long as the block lasts: a scheduler, found or started, and its pool."""

    def __init__(self, url: str, settings: Settings, *, take_over: bool = False) -> None:
        self._url = url
        self._settings = settings
        self._take_over = take_over
        self._before: dict[str, Any] = {}
        self.ended_in_order = False

    def __enter__(self) -> "Runner":
        self._connection = cluster.connected(self._settings)
        self._connection.__enter__()
        try:
            self._scheduler = cluster.start_scheduler(self._url, self._settings, take_over=self._take_over)
            self.progress()
        except BaseException:
            self._connection.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            self.ended_in_order = cluster.stop_scheduler(self._scheduler)
        finally:
            self._connection.__exit__(None, None, None)

    def progress(self) -> dict[str, Any]:
        """What the scheduler has done. Raises what ended it; waits while Ray starts it again, or while it stands still."""
        deaths = 0
        while True:
            try:
                progress: dict[str, Any] = ray.get(self._scheduler.progress.remote(), timeout=_ANSWER_SECONDS)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                raise cause if isinstance(cause, RevalueError) else error from None
            except ray.exceptions.GetTimeoutError:
                err.print(f"the scheduler has not answered for {_ANSWER_SECONDS} s: its process or its node stands still")
                continue
            except ray.exceptions.RayActorError as error:
                deaths += isinstance(error, ray.exceptions.ActorDiedError)
                if deaths > _MOST_DEATHS:
                    raise TermLostError(
                        "this command's scheduler is gone and is not started again: another command has taken over. "
                        "What it began is released by the other"
                    ) from None
                time.sleep(1)  # it recovers from the database
                continue
            if not progress.get("starting"):
                return progress
            time.sleep(0.05)

    def until_quiet(self, *, title: str, show: bool) -> Run:
        """Until nothing is left that can be done: all keys are current, or wait for data, or have failed."""
        begun = time.monotonic()
        first: dict[str, Any] = self._before or dict.fromkeys(
            ("rows_written", "jobs_finished", "keys_raised", "tasks_lost", "jobs_fenced"), 0
        )
        with Live(console=err, refresh_per_second=8, transient=True) as live:
            while True:
                progress = self.progress()
                seconds = time.monotonic() - begun
                done = {name: progress[name] - first[name] for name in first}
                if show:
                    live.update(_line(title, done, progress, seconds))
                if progress["quiet"]:
                    break  # or ended: it was drained
                time.sleep(_POLL_SECONDS)
        self._before = {name: progress[name] for name in first}
        return Run(
            seconds=seconds,
            rows_written=done["rows_written"],
            jobs_finished=done["jobs_finished"],
            keys_raised=done["keys_raised"],
            tasks_lost=done["tasks_lost"],
            jobs_fenced=done["jobs_fenced"],
            status=with_database(self._settings, reports.status),
        )

    def watch(self, *, show: bool) -> None:
        """Until interrupted, or drained by an operator."""
        begun = time.monotonic()
        with Live(console=err, refresh_per_second=4, transient=True) as live:
            while True:
                progress = self.progress()
                if progress["ended"]:
                    return
                if show:
                    live.update(_line("watching", progress, progress, time.monotonic() - begun))
                time.sleep(1)


def _line(title: str, done: dict[str, Any], progress: dict[str, Any], seconds: float) -> Table:
    table = Table.grid(padding=(0, 2))
    rate = done["rows_written"] / seconds if seconds else 0
    held = "paused" if progress["paused"] else "idle" if progress["idle"] else ""
    in_flight = progress["in_flight"]
    state = progress["trouble"] or (f"{in_flight} tasks in flight" if in_flight or not held else held)
    table.add_row(
        f"[bold]{title}[/bold]",
        f"{done['rows_written']:,} position-days",
        f"{rate:,.0f}/s",
        f"{done['jobs_finished']:,} jobs",
        f"{done['keys_raised']:,} keys raised",
        state,
        f"{seconds:.0f} s",
    )
    return table
