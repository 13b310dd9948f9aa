"""`revalue jobs`: valuation jobs. `revalue dead-letters`: those that failed for good."""

from typing import Annotated, Any

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import counted, format_time, out, print_json, print_table
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import UsageError
from revalue.engine.operate import retries
from revalue.engine.operate.job_filter import MAX_ID
from revalue.engine.operate.job_list import list_jobs, read_job
from revalue.engine.operate.status import list_dead_letters
from revalue.engine.postgres.database import Database

app = typer.Typer(no_args_is_help=True, help="List, show and retry valuation jobs.")

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Largest number of lines.")]


def _job_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_ID):
        raise typer.BadParameter(f"{text!r} is not the id of a job")
    return int(text)


@app.command("list")
def list_newest(
    ctx: typer.Context,
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help=f"Only jobs with this status: {', '.join(JobStatus)}."),
    ] = None,
    portfolio: Annotated[
        str | None, typer.Option(metavar="PORTFOLIO", help="Only jobs of this portfolio.")
    ] = None,
    security: Annotated[
        str | None, typer.Option(metavar="SECURITY", help="Only jobs of this security.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List the spans of jobs, the newest job first.

    A job covers many positions; each of them with a range of its dates is a span.
    """

    async def run(database: Database) -> list[dict[str, Any]]:
        return await list_jobs(
            database, status=status, portfolio=portfolio, security=security, limit=limit
        )

    found = CliContext.of(ctx).run(run)
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
    print_table(
        counted(len(found), "span"), columns, ([span[name] for name in columns] for span in found)
    )


@app.command("show")
def show(
    ctx: typer.Context,
    job_id: Annotated[int, typer.Argument(metavar="JOB", parser=_job_id, help="Id of the job.")],
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Show one job, with its first spans and the traceback of each of its failures."""

    async def run(database: Database) -> dict[str, Any]:
        return await read_job(database, job_id, spans=limit)

    found = CliContext.of(ctx).run(run)
    if as_json:
        print_json(found)
        return
    letters, spans = found.pop("dead_letters"), found.pop("spans")
    print_table(
        f"Job {job_id}",
        ("field", "value"),
        ((name, None if value is None else str(value)) for name, value in found.items()),
    )
    shown = counted(len(spans), "span")
    print_table(
        shown if len(spans) == found["span_count"] else f"{shown} of {found['span_count']:,}",
        tuple(spans[0]),
        ([None if each is None else str(each) for each in span.values()] for span in spans),
    )
    for letter in letters:
        out.print(
            f"dead letter of {format_time(letter['died_at'])}: {letter['failure_reason']}\n"
            f"{letter['traceback']}",
        )


@app.command("retry")
def retry(
    ctx: typer.Context,
    job_ids: Annotated[
        list[int] | None,
        typer.Argument(metavar="JOB", parser=_job_id, help="Ids of failed or waiting jobs."),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Every job that failed for good and is still due.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Requeue failed or waiting jobs with new attempts; the next `revalue value` runs them.

    Jobs that are done, in flight or superseded are named and left as they are. Exit code 4: a job
    does not exist; nothing is requeued then.
    """
    if bool(job_ids) == failed:
        raise UsageError("name the jobs to retry, or pass --failed")

    done = CliContext.of(ctx).run(
        lambda database: (
            retries.retry(database, job_ids) if job_ids else retries.retry_failed(database)
        )
    )
    if as_json:
        print_json(done)
        return
    others = ", ".join(map(str, done.not_requeued))
    out.print(
        f"{counted(len(done.requeued), 'job')} requeued"
        + (f"; not requeued, because done, in flight or superseded: {others}" if others else "")
    )


def dead_letters(
    ctx: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", help="Include those that were retried or superseded.")
    ] = False,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List jobs that failed for good, newest first.

    `revalue jobs show JOB` shows the traceback, `revalue jobs retry JOB` requeues the job.
    """

    async def run(database: Database) -> list[dict[str, Any]]:
        return await list_dead_letters(database, still_failed=not every, limit=limit)

    found = CliContext.of(ctx).run(run)
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
        [*(letter[name] for name in columns), format_time(letter["died_at"])] for letter in found
    )
    print_table(counted(len(found), "dead letter"), (*columns, "died_at"), rows)
