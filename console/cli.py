"""The command `revalue`. Results go to standard output, progress and errors to standard error.

Exit codes: 0 done; 1 unexpected; 2 wrong call; 3 another scheduler leads; 4 not found; 5 keys are not current;
65 bad input or refused correction; 75 try again later (database away); 78 the schema is another version.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from console import tokens
from console.correcting import Made, print_correction, print_preview
from console.printing import err, out, print_json, print_table
from console.session import database_url, with_database
from engine import corrections, logs
from engine import explain as explaining
from engine.errors import RevalueError, UsageError, ValuationIncompleteError
from engine.ingest import Kind
from engine.ingest import load as load_input
from engine.preview import Preview, preview
from engine.settings import Settings
from engine.store import embedded, reports, schema
from engine.store.database import Database

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Values positions, and puts history right when data was wrong."
)
correct_app = typer.Typer(
    no_args_is_help=True, help="Correct one price, rate or position; what it touches is revalued by `value`."
)
jobs_app = typer.Typer(no_args_is_help=True, help="Valuation jobs: list, show, retry.")
app.add_typer(correct_app, name="correct")
app.add_typer(jobs_app, name="jobs")
app.add_typer(tokens.app, name="tokens")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _Call:
    settings = Settings.model_construct()


@app.callback()
def configure(
    context: typer.Context,
    database: Annotated[
        str | None,
        typer.Option("--database-url", help="postgresql:// address; default: REVALUE_DATABASE_URL, else the embedded server."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded server lives.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="A Ray cluster's address; default: REVALUE_RAY_ADDRESS, else local.")
    ] = None,
) -> None:
    given = {"database_url": database, "data_dir": data_dir, "ray_address": ray_address}
    _Call.settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    context.obj = _Call.settings
    logs.configure(_Call.settings.log_level)
    logs.correlate()


@app.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="`head`, an older revision to go back to, or `base`.")] = "head",
) -> None:
    """Bring the database's schema to this version (or, with REVISION, back to an older one: that drops data)."""
    out.print(f"schema is at {asyncio.run(schema.migrate(database_url(_Call.settings), revision))}")


@app.command()
def load(
    kind: Annotated[Kind, typer.Argument(help="What the file holds.")],
    file: Annotated[Path, typer.Argument(help="Parquet or CSV.")],
    merge: Annotated[bool, typer.Option("--merge", help="positions: keep later facts that the file does not mention.")] = False,
    as_json: Json = False,
) -> None:
    """Validate a whole file, then load it; nothing is written when any row is wrong. Twice is the same as once."""

    async def run(database: Database) -> Any:
        return await load_input(database, kind, file, merge=merge)

    result = with_database(_Call.settings, run)
    if as_json:
        print_json(result)
    else:
        out.print(
            f"{kind.value}: {result.rows:,} rows: {result.inserted:,} new, {result.changed:,} changed, "
            f"{result.unchanged:,} as they were"
            + (
                f"; {result.keys_corrected:,} positions corrected, {result.keys_extended:,} extended"
                if kind is Kind.POSITIONS
                else ""
            )
        )


@app.command()
def value(
    watch: Annotated[bool, typer.Option("--watch", help="Keep running; stop with Ctrl-C or SIGTERM.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Take leadership from a scheduler that is alive.")] = False,
    actors: Annotated[int | None, typer.Option(min=1, help="Valuation actors (default: one a CPU).")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve the scheduler's Prometheus metrics here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Value everything that is owed, until every key is current; exit 5, with the reasons, when some cannot be."""
    from console.valuing import Runner

    changed = {"actors": actors, "metrics_port": metrics_port}
    settings = _Call.settings.model_copy(update={k: v for k, v in changed.items() if v is not None})
    url = database_url(settings)
    asyncio.run(schema.require_head(url))
    settings = settings.model_copy(update={"database_url": url})
    with Runner(url, settings, take_over=take_over) as runner:
        signal.signal(signal.SIGTERM, _interrupt)
        if watch:
            try:
                runner.watch(show=not quiet)
            except KeyboardInterrupt:
                err.print("stopping: tasks in flight are finished and applied first")
                return
        run = runner.until_quiet(title="valuing", show=not quiet)
    if as_json:
        print_json({**asdict(run), "rows_per_second": round(run.rows_per_second)})
    else:
        out.print(
            f"{run.rows_written:,} position-days in {run.seconds:.1f} s ({run.rows_per_second:,.0f}/s), "
            f"{run.jobs_finished:,} jobs, {run.keys_raised:,} keys raised"
        )
        _print_status(run.status)
    if not run.status.is_current:
        raise ValuationIncompleteError(_incomplete(run.status))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _incomplete(status: reports.Status) -> str:
    left = {state: keys for state, keys in status.keys.items() if state != "CURRENT"}
    reasons = "; ".join(f"{keys:,} keys: {example}" for _, keys, example in status.reasons[:5])
    return f"not every key is current: {left}" + (f" ({reasons})" if reasons else "")


@app.command("status")
def show_status(as_json: Json = False) -> None:
    """Where the keys stand: current, behind, reprocessing, waiting for data, failed."""
    status = with_database(_Call.settings, reports.status)
    if as_json:
        print_json({**asdict(status), "is_current": status.is_current})
    else:
        _print_status(status)


def _print_status(status: reports.Status) -> None:
    print_table("Keys", ("state", "keys"), status.keys.items())
    out.print(
        f"watermarks {status.first_watermark or 'none'} to {status.last_watermark or 'none'}, "
        f"horizon {status.horizon or 'none'}; "
        f"{status.triggers_queued:,} triggers queued, {status.jobs_deferred:,} jobs deferred, "
        f"{status.dead_letters:,} dead letters"
    )
    if status.reasons:
        print_table("Not current because of", ("reason", "keys", "example"), status.reasons)


@jobs_app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    portfolio: Annotated[str | None, typer.Option()] = None,
    security: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: Json = False,
) -> None:
    """The newest jobs."""

    async def run(database: Database) -> list[dict[str, Any]]:
        return await reports.jobs(database, status=status, portfolio=portfolio, security=security, most=limit)

    found = with_database(_Call.settings, run)
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
def show_job(job_id: Annotated[int, typer.Argument()], as_json: Json = False) -> None:
    """One job, with its dead letters."""

    async def run(database: Database) -> dict[str, Any]:
        return await reports.job(database, job_id)

    found = with_database(_Call.settings, run)
    if as_json:
        print_json(found)
        return
    letters = found.pop("dead_letters")
    print_table(f"Job {job_id}", ("field", "value"), ((name, str(v) if v is not None else None) for name, v in found.items()))
    for letter in letters:
        out.print(
            f"dead letter of {letter['died_at']:%Y-%m-%d %H:%M:%S}: {letter['failure_reason']}\n{letter['traceback']}",
            markup=False,
        )


@jobs_app.command("retry")
def retry_jobs(job_ids: Annotated[list[int], typer.Argument()]) -> None:
    """Take failed or waiting jobs up again at the next `value`, with fresh attempts."""

    async def run(database: Database) -> list[int]:
        return await reports.retry(database, job_ids)

    taken = with_database(_Call.settings, run)
    left = sorted(set(job_ids) - set(taken))
    out.print(f"{len(taken)} jobs will be tried again" + (f"; not these (done, superseded or unknown): {left}" if left else ""))


def _date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date: write YYYY-MM-DD") from None


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no decimal number") from None
    if not number.is_finite():
        raise typer.BadParameter(f"{text!r} is not finite")
    return number


Day = Annotated[date, typer.Argument(parser=_date, metavar="YYYY-MM-DD")]
Number = Annotated[Decimal, typer.Argument(parser=_decimal, metavar="NUMBER")]


DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be revalued and what it would change; write nothing.")]


@correct_app.command("price")
def correct_price(security: str, day: Day, price: Number, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Replace the price that SECURITY has for a date (its currency and quote basis stay)."""
    _correct(lambda database: corrections.price(database, security, day, price), dry_run, as_json)


@correct_app.command("fx")
def correct_fx(base: str, quote: str, day: Day, rate: Number, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Replace the stored rate of a date: 1 BASE = RATE QUOTE."""
    _correct(lambda database: corrections.rate(database, base, quote, day, rate), dry_run, as_json)


@correct_app.command("position", context_settings={"ignore_unknown_options": True})
def correct_position(
    portfolio: str,
    security: str,
    day: Day,
    quantity: Number,
    cost_basis_local: Number,
    cost_basis: Number,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put in the absolute fact of one date (later facts stay)."""
    given = (portfolio, security, day, quantity, cost_basis_local, cost_basis)
    _correct(lambda database: corrections.position(database, *given), dry_run, as_json)


@correct_app.command("file")
def correct_file(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV, with the columns of a file of prices, fx_rates or positions.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Replace every price, rate or fact of a file, or none of them: what it names has to be stored already."""
    _correct(lambda database: corrections.file(database, file), dry_run, as_json)


def _correct(correct: Callable[[Database], Awaitable[Made]], dry_run: bool, as_json: bool) -> None:
    async def run(database: Database) -> Made | Preview:
        if dry_run:
            return await preview(database, correct, _Call.settings)
        made = await correct(database)
        corrections.told(made)
        return made

    made = with_database(_Call.settings, run)
    if isinstance(made, Preview):
        if as_json:
            print_json({**made.as_dict(), "correction": asdict(made.correction)})
        else:
            print_preview(made)
    elif as_json:
        print_json(made)
    else:
        print_correction(made)


@app.command()
def explain(portfolio: str, security: str, day: Day, as_json: Json = False) -> None:
    """How a number came about, recomputed, and whether the stored one agrees (exit 1 when it does not)."""

    async def run(database: Database) -> explaining.Explanation:
        return await explaining.explain(database, portfolio, security, day)

    found = with_database(_Call.settings, run)
    if as_json:
        print_json({**asdict(found), "verdict": found.verdict})
    else:
        _print_explanation(found)
    if found.verdict == "DISAGREES":
        raise RevalueError(f"the stored row disagrees with the data: {found.differences or 'it is not owed'}")


def _print_explanation(found: explaining.Explanation) -> None:
    key, stored = found.key, found.stored
    out.print(f"[bold]{found.portfolio_id} / {found.security_id} / {found.date}[/bold]")
    for number, step in enumerate(found.steps, 1):
        out.print(f" {number:2}. {step}", markup=False)
    if stored:
        out.print(
            f"Stored: market value {explaining.plain(stored['market_value'])} {key['base_currency']}, unrealized gain "
            f"{explaining.plain(stored['unrealized_gain'])} {key['base_currency']}, "
            f"{stored['valuation_status']}, epoch {stored['epoch']} "
            f"(key: epoch {key['epoch']}, published {key['published_epoch']}, {key['state']})"
        )
        out.print(
            f"Job {stored['job_id']} ({stored['job_status']}, attempt {stored['attempt_count']}, {stored['first_date']} to "
            f"{stored['last_date']}), finished {stored['finished_at']}"
        )
        if stored["trigger_id"] is not None:
            out.print(f"Trigger {stored['trigger_id']} ({stored['trigger_kind']}) of {stored['trigger_created_at']}")
    else:
        out.print(f"Stored: no row (key: {key['state']}, watermark {key['watermark_date'] or 'none'})")
    out.print(f"Verdict: [bold]{found.verdict}[/bold]")
    for name, (was, becomes) in found.differences.items():
        out.print(f"  {name}: stored {was}, recomputed {becomes}", markup=False)


@app.command()
def sample(
    folder: Annotated[Path | None, typer.Argument(help="Write the sample book's files here instead of loading it.")] = None,
) -> None:
    """Load the sample book (real prices and rates, invented holdings), or write its files to FOLDER."""
    from console import sample as book

    if folder is not None:
        for path in book.export(folder):
            out.print(str(path), markup=False)
        return

    async def run(database: Database) -> None:
        for kind, frame in book.frames().items():
            result = await load_input(database, kind, frame)
            out.print(f"{kind}: {result.rows:,} rows, {result.inserted + result.changed:,} new or changed")

    with_database(_Call.settings, run)


@app.command("serve-metrics")
def serve_metrics(
    port: Annotated[int, typer.Option(min=0, max=65535)] = 9464,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
) -> None:
    """Serve what the database says of keys, triggers and jobs to Prometheus, with or without a scheduler."""
    from console.metrics_server import serve

    url = database_url(_Call.settings)
    asyncio.run(schema.require_head(url))
    serve(url, host, port)


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8460,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs tokens.")] = "127.0.0.1",
    require_token: Annotated[bool, typer.Option("--require-token", help="Ask for tokens on this machine too.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="PEM file: serve TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's private key.")] = None,
) -> None:
    """Serve the API over HTTP; on another address than 127.0.0.1 or ::1 with bearer tokens (`revalue tokens`)."""
    from console.web.serving import run_server

    url = database_url(_Call.settings)
    asyncio.run(schema.require_head(url))
    run_server(url, _Call.settings, host=host, port=port, require_token=require_token, certificate=certificate, key=key)


@app.command("monitoring")
def export_monitoring(folder: Annotated[Path, typer.Argument(help="Where the files are written.")]) -> None:
    """Write the Prometheus alert rules and the Grafana dashboard to FOLDER."""
    from console import monitoring

    for path in monitoring.export(folder):
        out.print(str(path), markup=False)


@app.command()
def verify(
    rows: Annotated[int, typer.Option(min=1, help="At least this many rows, of keys drawn at random.")] = 100_000,
    seed: Annotated[int, typer.Option()] = 0,
    every: Annotated[bool, typer.Option("--all", help="Every row.")] = False,
    as_json: Json = False,
) -> None:
    """Recompute stored rows one by one, in plain decimals, from the rules alone; exit 1 when any digit disagrees."""
    from console.verifying import verify_rows

    async def run(database: Database) -> Any:
        return await verify_rows(database, rows=None if every else rows, seed=seed)

    found = with_database(_Call.settings, run)
    if as_json:
        print_json(found)
    else:
        out.print(f"{found.rows:,} rows of {found.keys:,} keys recomputed: {found.disagreements:,} disagreements")
    if found.disagreements:
        raise RevalueError("stored rows disagree with the data:\n" + "\n".join(found.examples))


@app.command()
def demo(folder: Annotated[Path, typer.Option(help="Where the picture is written.")] = Path()) -> None:
    """The whole walk on the sample book: load, value, correct a price in the past, reprocess, verify, draw."""
    from console.demo import run_demo

    run_demo(_Call.settings, folder)


@app.command()
def bench(
    workloads: Annotated[
        list[str], typer.Argument(help="backfill, roll, correction-day, correction-history, fx, storm, late.")
    ],
    keys: Annotated[int, typer.Option(min=1)] = 4_000,
    dates: Annotated[int, typer.Option(min=2)] = 250,
    runs: Annotated[int, typer.Option(min=1, help="Runs that count, after one that is dropped.")] = 3,
    peers: Annotated[str, typer.Option(help="ceiling,sql,per-job, or empty.")] = "",
    actors: Annotated[int | None, typer.Option(min=1)] = None,
    json_path: Annotated[Path | None, typer.Option("--json-file", help="Write the figures here too.")] = None,
) -> None:
    """Measure the engine, beside what a user would pick instead, in a database of its own on the same server."""
    from console.benching import run_benchmarks

    settings = _Call.settings.model_copy(update={"actors": actors} if actors else {})
    names = tuple(name for name in peers.split(",") if name)
    run_benchmarks(
        settings, database_url(settings), workloads, keys=keys, dates=dates, runs=runs, peers=names, json_path=json_path
    )


@app.command()
def down() -> None:
    """Stop the embedded PostgreSQL (its data stay)."""
    if _Call.settings.database_url is not None:
        raise UsageError("a database address is set: only the embedded server can be stopped by `down`")
    out.print("stopped" if embedded.stop(_Call.settings.data_dir) else "it was not running")


def main() -> None:
    """The entry point: errors become one message and an exit code."""
    try:
        app(standalone_mode=True)
    except RevalueError as error:
        err.print(f"[bold red]error:[/bold red] {type(error).__name__}: ", end="")
        err.print(str(error), markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
