"""`revalue value`: run the engine until every position is current, or until it is stopped."""

import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal, NoReturn

import typer

from revalue.actors.choice import LOCAL_POSITION_DAYS, Choice, choose, host_of
from revalue.actors.moves import Moves
from revalue.actors.runner import STOP_SECONDS, Runner
from revalue.console.cli.arguments import Json, parse_date
from revalue.console.cli.connection import migrated_database_url, with_database
from revalue.console.cli.context import CliContext
from revalue.console.cli.openings import print_openings
from revalue.console.cli.output import counted, err, out, print_json
from revalue.console.cli.progress import progress_line
from revalue.console.cli.status import as_dict, not_opened, print_status, what_is_left
from revalue.console.cli.stop_signals import StopSignals
from revalue.engine.correct.calendars.openings import Opening, open_calendars
from revalue.engine.errors import TransientError, ValuationIncompleteError
from revalue.engine.operate.status import read_status
from revalue.engine.runtime import OnProgress, Run, RunProgress
from revalue.engine.settings import Settings


def value(
    ctx: typer.Context,
    through: Annotated[
        date | None,
        typer.Option(
            parser=parse_date,
            metavar="DATE",
            help="First open the business days of all calendars up to DATE, as `revalue open`.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Keep running until Ctrl-C, SIGTERM or `revalue drain` stops it."
        ),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Take the lead from a scheduler that is still alive."),
    ] = False,
    runtime: Annotated[
        Literal["auto", "ray", "local"] | None,
        typer.Option(
            help="Run on Ray, or in this process (local). Default: REVALUE_RUNTIME, or auto: local "
            f"if less than about {LOCAL_POSITION_DAYS:,} position-days are due and no Ray cluster "
            "is set. Auto with --watch moves to Ray when much becomes due, and back when it rests.",
        ),
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of valuation actors; without it one per CPU. Without Ray 2 at most."
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Serve the Prometheus metrics of the scheduler on this port."
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            help="Print nothing while all is well: no progress and no result. What is wrong, and "
            "what has stopped it, is told on standard error.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Value all due position-days of the business days that are opened, until every position is
    current.

    Exit code 5: some positions cannot be valued; the reasons are printed.
    """
    changed = {"runtime": runtime, "actors": actors, "metrics_port": metrics_port}
    settings = CliContext.of(ctx).settings.model_copy(
        update={name: given for name, given in changed.items() if given is not None}
    )
    url = migrated_database_url(settings)
    settings = settings.model_copy(update={"database_url": url})
    opened: list[Opening] = []
    if through is not None:
        opened = with_database(settings, lambda database: open_calendars(database, through))
        if not (as_json or quiet):
            print_openings(opened, through)
    stop = StopSignals(
        first_words="stopping: work in flight is finished and applied first, which may take "
        f"{STOP_SECONDS} s; a second signal does not wait for it",
        last_words=lambda: f"ended at once: {runner.what_it_leaves()}",
    )
    verb = "watching" if watch else "valuing"
    chosen = choose(url, settings, watch=watch)
    tell = _telling(verb, quiet=quiet)
    tell(chosen)
    runner = Runner(
        host_of(chosen.runtime, settings),
        url,
        settings,
        take_over=take_over,
        on_connected=stop.handle,
        on_wait=stop.check,
    )
    try:
        stop.watch()
        # Ray prints messages of its own, which are no part of the result.
        with (
            redirect_stdout(sys.stderr),
            runner,
            progress_line(verb, show=not quiet) as on_progress,
        ):
            if watch:
                run = None
                runner.watch(on_progress, Moves(settings, tell=tell) if chosen.is_for_now else None)
            else:
                run = runner.until_quiet(_telling_of_more(on_progress, chosen))
    except (KeyboardInterrupt, SystemExit) as stopped:
        # Ray's own handler raises SystemExit, while it starts.
        if isinstance(stopped, SystemExit) and stop.number is None:
            raise
        number = stop.number or signal.SIGINT
        _exit_stopped(runner, settings, number, watch=watch, opened=opened if as_json else None)
    if run is None:
        status = with_database(settings, partial(read_status, exact=True))
        err.print(f"drained by an operator; {what_is_left(status)}")
        if as_json:
            print_json({"opened": opened, "status": as_dict(status)})
        return
    if run.status.calendars_not_opened:
        err.print(not_opened(run.status))
    _print_result(run, opened, as_json=as_json, quiet=quiet)
    if not run.status.is_current:
        raise ValuationIncompleteError(what_is_left(run.status))


def _print_result(run: Run, opened: list[Opening], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json({"opened": opened, **run_as_dict(run)})
    elif not quiet:
        out.print(describe_run(run))
        print_status(run.status)


def run_as_dict(run: Run) -> dict[str, Any]:
    """Return the result of a run for programs."""
    rate = round(run.rows_per_second)
    return {**asdict(run), "status": as_dict(run.status), "rows_per_second": rate}


def describe_run(run: Run) -> str:
    """Say in one line what a run did."""
    return (
        f"{counted(run.rows_written, 'position-day')} in {run.seconds:.1f} s "
        f"({run.rows_per_second:,.0f}/s), {counted(run.spans_finished, 'span')}, "
        f"{counted(run.positions_invalidated, 'position')} invalidated"
    )


def _telling(verb: str, *, quiet: bool) -> Callable[[Choice | str], None]:
    """Return what says where the run takes place, and why, if that was not asked for."""

    def tell(where: Choice | str) -> None:
        is_asked_for = isinstance(where, Choice) and where.reason is None
        if not quiet and not is_asked_for:
            err.print(f"{verb} {where}")

    return tell


def _telling_of_more(on_progress: OnProgress | None, chosen: Choice) -> OnProgress | None:
    """Say once that more was valued in this process than it was chosen for."""
    if on_progress is None or not chosen.is_estimated:
        return on_progress
    is_told = False

    def tell(now: RunProgress) -> None:
        nonlocal is_told
        on_progress(now)
        if now.rows_written >= LOCAL_POSITION_DAYS and not is_told:
            is_told = True
            err.print(
                f"more has become due: {now.rows_written:,} position-days are valued by now, and "
                "this process goes on without Ray"
            )

    return tell


def _exit_stopped(
    runner: Runner,
    settings: Settings,
    number: int,
    *,
    watch: bool,
    opened: list[Opening] | None,
) -> NoReturn:
    """Say how a signal has ended the run and what is left, and exit.

    Args:
        opened: what is printed with the status as JSON; None: nothing is.
    """
    if not runner.has_led:
        how = "stopped while it started"
    elif runner.ended_in_order:
        how = "stopped: work in flight was finished and applied"
    else:
        how = "stopped: work in flight was not finished, the next scheduler releases it"
    try:
        status = with_database(settings, partial(read_status, exact=True))
    except TransientError as error:
        err.print(f"{how}; what is left is not known: {error}")
        sys.exit(128 + number)
    err.print(f"{how}; {what_is_left(status)}")
    if opened is not None:
        print_json({"opened": opened, "status": as_dict(status)})
    sys.exit(0 if (watch and runner.ended_in_order) or status.is_current else 128 + number)
