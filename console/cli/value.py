"""`revalue value`: until every position is current, or for as long as it is let."""

import asyncio
import signal
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from revalue.console.cli.connection import database_url, with_database
from revalue.console.cli.context import Call, Json
from revalue.console.cli.operate import print_status, what_is_left
from revalue.console.cli.output import err, out, print_json
from revalue.console.cli.progress import progress_line
from revalue.engine.errors import ValuationIncompleteError
from revalue.engine.operate.status import read_status
from revalue.engine.postgres import schema


class _Stopped(KeyboardInterrupt):
    def __init__(self, number: int) -> None:
        self.number = number


def value(
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Keep running; stop with Ctrl-C, SIGTERM or `revalue drain`."),
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take leadership from a scheduler that is alive.")
    ] = False,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Valuation actors (default: one a CPU).")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve the scheduler's Prometheus metrics here.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Value everything that is owed, until every position is current; exit 5, with the reasons, when some cannot be."""
    from revalue.actors.runner import Runner

    changed = {"actors": actors, "metrics_port": metrics_port}
    settings = Call.settings.model_copy(update={k: v for k, v in changed.items() if v is not None})
    url = database_url(settings)
    asyncio.run(schema.require_head(url))
    settings = settings.model_copy(update={"database_url": url})
    runner = Runner(url, settings, take_over=take_over)
    try:
        with runner:
            # After Ray's start, which installs handlers of its own.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _stop)
            with progress_line("watching" if watch else "valuing", show=not quiet) as on_progress:
                run = None if watch else runner.until_quiet(on_progress)
                if watch:
                    runner.watch(on_progress)
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "number", signal.SIGINT)
        status = with_database(settings, read_status)
        finished = (
            "were finished and applied"
            if runner.ended_in_order
            else "were not finished: the next scheduler frees them"
        )
        err.print(f"stopped: tasks in flight {finished}; {what_is_left(status)}", markup=False)
        sys.exit(0 if (watch and runner.ended_in_order) or status.is_current else 128 + number)
    if run is None:
        err.print(
            f"drained by an operator; {what_is_left(with_database(settings, read_status))}",
            markup=False,
        )
        return
    if as_json:
        print_json({**asdict(run), "rows_per_second": round(run.rows_per_second)})
    else:
        out.print(
            f"{run.rows_written:,} position-days in {run.seconds:.1f} s ({run.rows_per_second:,.0f}/s), "
            f"{run.jobs_finished:,} jobs, {run.positions_invalidated:,} positions raised"
        )
        print_status(run.status)
    if not run.status.is_current:
        raise ValuationIncompleteError(what_is_left(run.status))


def _stop(number: int, _: Any) -> None:
    # A second signal does not wait for what is in flight.
    signal.signal(number, signal.SIG_DFL)
    err.print("stopping: tasks in flight are finished and applied first")
    raise _Stopped(number)
