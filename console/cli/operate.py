"""What an operator does: status, jobs, dead letters, pause, resume, drain."""

import getpass
import socket
from dataclasses import asdict
from typing import Annotated, Any

import typer

from revalue.console.cli.connection import with_database
from revalue.console.cli.context import Call, Json
from revalue.console.cli.output import counted, out, print_json, print_table
from revalue.engine.errors import UsageError
from revalue.engine.leadership import control
from revalue.engine.operate.status import (
    MAX_ID,
    Status,
    list_dead_letters,
    list_failed_jobs,
    list_jobs,
    read_job,
    read_status,
    retry_jobs,
)
from revalue.engine.postgres.database import Database

jobs_app = typer.Typer(no_args_is_help=True, help="Valuation jobs: list, show, retry.")


def mount(app: typer.Typer) -> None:
    """Adds these commands."""
    app.add_typer(jobs_app, name="jobs")
    app.command("status")(show_status)
    app.command("dead-letters")(dead_letters)
    app.command()(pause)
    app.command()(resume)
    app.command()(drain)


def show_status(as_json: Json = False) -> None:
    """Where the positions stand: current, behind, reprocessing, waiting for data, failed."""
    status = with_database(Call.settings, read_status)
    if as_json:
        print_json({**asdict(status), "is_current": status.is_current})
    else:
        print_status(status)


def print_status(status: Status) -> None:
    print_table("Positions", ("state", "positions"), status.positions.items())
    out.print(
        f"watermarks {status.first_watermark or 'none'} to {status.last_watermark or 'none'}, "
        f"horizon {status.horizon or 'none'}; "
        f"{counted(status.triggers_queued, 'trigger')} queued, {counted(status.jobs_deferred, 'job')} deferred, "
        f"{counted(status.dead_letters, 'dead letter')}"
    )
    if status.paused_at:
        out.print(
            f"paused since {status.paused_at:%Y-%m-%d %H:%M:%S %Z} by {status.paused_by}: `revalue resume` ends it"
        )
    if status.reasons:
        print_table("Not current because of", ("reason", "positions", "example"), status.reasons)


def what_is_left(status: Status) -> str:
    """In one line: what a run leaves, and why."""
    if status.is_current:
        return "nothing is left: every position is current"
    states = ", ".join(
        f"{counted(positions, 'position')} {state}"
        for state, positions in status.positions.items()
        if state != "CURRENT"
    )
    reasons = "; ".join(
        f"{counted(positions, 'position')}: {example}"
        for _, positions, example in status.reasons[:5]
    )
    queued = (
        f"{counted(status.triggers_queued, 'trigger')} queued" if status.triggers_queued else ""
    )
    paused = "paused by an operator: `revalue resume` ends it" if status.paused_at else ""
    return "not every position is current: " + "; ".join(
        part for part in (states, reasons, queued, paused) if part
    )


@jobs_app.command("list")
def jobs_list(
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    portfolio: Annotated[str | None, typer.Option()] = None,
    security: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: Json = False,
) -> None:
    """The newest jobs."""

    async def run(database: Database) -> list[dict[str, Any]]:
        return await list_jobs(
            database, status=status, portfolio=portfolio, security=security, limit=limit
        )

    found = with_database(Call.settings, run)
    if as_json:
        print_json(found)
        return
    columns = (
        "job_id",
        "portfolio_id",
        "security_id",
        "status",
        "epoch",
        "first_date",
        "last_date",
        "attempt_count",
        "rows_written",
        "failure_reason",
    )
    print_table(f"{len(found)} jobs", columns, ([job[name] for name in columns] for job in found))


@jobs_app.command("show")
def show_job(
    job_id: Annotated[int, typer.Argument(metavar="JOB", min=1, max=MAX_ID)],
    as_json: Json = False,
) -> None:
    """One job, with its dead letters."""

    async def run(database: Database) -> dict[str, Any]:
        return await read_job(database, job_id)

    found = with_database(Call.settings, run)
    if as_json:
        print_json(found)
        return
    letters = found.pop("dead_letters")
    print_table(
        f"Job {job_id}",
        ("field", "value"),
        ((name, str(v) if v is not None else None) for name, v in found.items()),
    )
    for letter in letters:
        out.print(
            f"dead letter of {letter['died_at']:%Y-%m-%d %H:%M:%S}: {letter['failure_reason']}\n{letter['traceback']}",
            markup=False,
        )


@jobs_app.command("retry")
def jobs_retry(
    job_ids: Annotated[
        list[int] | None, typer.Argument(metavar="JOB...", min=1, max=MAX_ID)
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Every job that failed for good and is still owed.")
    ] = False,
) -> None:
    """Take failed or waiting jobs up again at the next `value`, with fresh attempts."""
    if bool(job_ids) == failed:
        raise UsageError("name jobs, or say --failed")

    async def run(database: Database) -> tuple[list[int], list[int]]:
        asked = job_ids or await list_failed_jobs(database)
        return asked, await retry_jobs(database, asked)

    asked, taken = with_database(Call.settings, run)
    left = sorted(set(asked) - set(taken))
    out.print(
        f"{counted(len(taken), 'job')} will be tried again"
        + (f"; not these (done, superseded or unknown): {left}" if left else "")
    )


def dead_letters(
    every: Annotated[
        bool, typer.Option("--all", help="Those that were taken up again or superseded, too.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: Json = False,
) -> None:
    """Jobs that failed for good, newest first. `jobs show JOB` has the traceback, `jobs retry` takes them up again."""

    async def run(database: Database) -> list[dict[str, Any]]:
        return await list_dead_letters(database, still_failed=not every, limit=limit)

    found = with_database(Call.settings, run)
    if as_json:
        print_json(found)
        return
    columns = (
        "job_id",
        "portfolio_id",
        "security_id",
        "first_date",
        "last_date",
        "attempt_count",
        "failure_reason",
        "status",
    )
    rows = (
        [*(letter[name] for name in columns), f"{letter['died_at']:%Y-%m-%d %H:%M:%S}"]
        for letter in found
    )
    print_table(counted(len(found), "dead letter"), (*columns, "died_at"), rows)


def pause() -> None:
    """Begin no new work until `resume`: what is in flight is finished and applied. It holds for later schedulers too."""
    by = f"{getpass.getuser()}@{socket.gethostname()}"

    async def run(database: Database) -> Status:
        await control.pause(database, by)
        return await read_status(database)

    print_status(with_database(Call.settings, run))


def resume() -> None:
    """End a pause."""
    since = with_database(Call.settings, control.resume)
    out.print(
        f"resumed; it was paused since {since:%Y-%m-%d %H:%M:%S %Z}"
        if since
        else "it was not paused"
    )


def drain(
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for what is in flight.")
    ] = 600,
) -> None:
    """Ask the scheduler that leads to finish what is in flight and end; say what is left."""

    async def run(database: Database) -> tuple[control.Leader, Status]:
        lease = Call.settings.lease_seconds
        return await control.drain(
            database, seconds=timeout, lease_seconds=lease
        ), await read_status(database)

    leader, status = with_database(Call.settings, run)
    if leader.holder is None:
        out.print("no scheduler leads")
    elif leader.silent_seconds > Call.settings.lease_seconds:
        out.print(
            f"scheduler {leader.holder} (term {leader.term}) has been silent for {leader.silent_seconds:.0f} s and is held "
            "to be gone: the next one releases what it began"
        )
    else:
        out.print(f"scheduler {leader.holder} (term {leader.term}) has ended")
    out.print(what_is_left(status))
