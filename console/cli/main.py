"""The command `revalue`. Results go to standard output, progress and errors to standard error.

Exit codes: 0 done; 1 unexpected; 2 wrong call; 3 another scheduler leads; 4 not found; 5 positions are not current;
65 bad input or refused correction; 75 try again later (database away); 77 PostgreSQL refuses the user; 78 the schema is
another version; 130, 143 stopped by Ctrl-C, SIGTERM with something left.
"""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from revalue.console.cli import operate, tokens
from revalue.console.cli.connection import database_url, with_database, writable_folder
from revalue.console.cli.context import Call, Json, configure
from revalue.console.cli.correct import Day, correct_app
from revalue.console.cli.output import err, out, print_json
from revalue.console.cli.value import value
from revalue.engine.correct.ingest import Kind
from revalue.engine.correct.ingest import load as load_input
from revalue.engine.errors import RevalueError, UsageError
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.database import Database
from revalue.engine.read.explain import Explanation, explain, formatted

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Values positions, and puts history right when data was wrong.",
)
app.add_typer(correct_app, name="correct")
app.command()(value)
operate.mount(app)
app.add_typer(tokens.app, name="tokens")


@app.callback()
def called(
    database: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            help="postgresql:// address; default: REVALUE_DATABASE_URL, else the embedded server.",
        ),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded server lives.")] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="A Ray cluster's address; default: REVALUE_RAY_ADDRESS, else local."),
    ] = None,
) -> None:
    configure(database_url=database, data_dir=data_dir, ray_address=ray_address)


@app.command()
def migrate(
    revision: Annotated[
        str, typer.Argument(help="`head`, an older revision to go back to, or `base`.")
    ] = "head",
) -> None:
    """Bring the database's schema to this version (or, with REVISION, back to an older one: that drops data)."""
    out.print(f"schema is at {asyncio.run(schema.migrate(database_url(Call.settings), revision))}")


@app.command()
def load(
    kind: Annotated[Kind, typer.Argument(help="What the file holds.")],
    file: Annotated[Path, typer.Argument(help="Parquet or CSV.")],
    merge: Annotated[
        bool,
        typer.Option("--merge", help="positions: keep later facts that the file does not mention."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Validate a whole file, then load it; nothing is written when any row is wrong. Twice is the same as once."""

    async def run(database: Database) -> Any:
        return await load_input(database, kind, file, merge=merge)

    result = with_database(Call.settings, run)
    if as_json:
        print_json(result)
    else:
        out.print(
            f"{kind.value}: {result.rows:,} rows: {result.inserted:,} new, {result.changed:,} changed, "
            f"{result.unchanged:,} as they were"
            + (
                f"; {result.positions_corrected:,} positions corrected, {result.positions_extended:,} extended"
                if kind is Kind.POSITIONS
                else ""
            )
        )


@app.command("explain")
def explain_command(portfolio: str, security: str, day: Day, as_json: Json = False) -> None:
    """How a number came about, recomputed, and whether the stored one agrees (exit 1 when it does not)."""

    async def run(database: Database) -> Explanation:
        return await explain(database, portfolio, security, day)

    found = with_database(Call.settings, run)
    if as_json:
        print_json({**asdict(found), "verdict": found.verdict})
    else:
        _print_explanation(found)
    if found.verdict == "DISAGREES":
        raise RevalueError(
            f"the stored row disagrees with the data: {found.differences or found.missing or 'no row is due'}"
        )


def _print_explanation(found: Explanation) -> None:
    position, stored = found.position, found.stored
    out.print(f"[bold]{found.portfolio_id} / {found.security_id} / {found.date}[/bold]")
    for number, step in enumerate(found.steps, 1):
        out.print(f" {number:2}. {step}", markup=False)
    if stored:
        out.print(
            f"Stored: market value {formatted(stored['market_value'])} {position['base_currency']}, unrealized gain "
            f"{formatted(stored['unrealized_gain'])} {position['base_currency']}, "
            f"{stored['valuation_status']}, epoch {stored['epoch']} "
            f"(position: epoch {position['epoch']}, published {position['published_epoch']}, {position['state']})"
        )
        out.print(
            f"Job {stored['job_id']} ({stored['job_status']}, attempt {stored['attempt_count']}, {stored['first_date']} to "
            f"{stored['last_date']}), finished {stored['finished_at']}"
        )
        if stored["trigger_id"] is not None:
            out.print(
                f"Trigger {stored['trigger_id']} ({stored['trigger_kind']}) of {stored['trigger_created_at']}"
            )
    else:
        out.print(
            f"Stored: no row (position: {position['state']}, watermark {position['watermark_date'] or 'none'})"
        )
    out.print(f"Verdict: [bold]{found.verdict}[/bold]")
    for name, (was, becomes) in found.differences.items():
        out.print(f"  {name}: stored {was}, recomputed {becomes}", markup=False)


@app.command()
def sample(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Write the sample book's files here instead of loading it."),
    ] = None,
) -> None:
    """Load the sample book (real prices and rates, invented holdings), or write its files to FOLDER."""
    from revalue.console import sample

    if folder is not None:
        for path in sample.export(writable_folder(folder)):
            out.print(str(path), markup=False)
        return

    async def run(database: Database) -> None:
        for kind, frame in sample.frames().items():
            result = await load_input(database, kind, frame)
            out.print(
                f"{kind}: {result.rows:,} rows, {result.inserted + result.changed:,} new or changed"
            )

    with_database(Call.settings, run)


@app.command("serve-metrics")
def serve_metrics(
    port: Annotated[int, typer.Option(min=0, max=65535)] = 9464,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
) -> None:
    """Serve what the database says of positions, triggers and jobs to Prometheus, with or without a scheduler."""
    from revalue.console.monitoring.metrics_server import serve

    url = database_url(Call.settings)
    asyncio.run(schema.require_head(url))
    serve(url, host, port)


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8460,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs tokens.")
    ] = "127.0.0.1",
    require_token: Annotated[
        bool, typer.Option("--require-token", help="Ask for tokens on this machine too.")
    ] = False,
    certificate: Annotated[Path | None, typer.Option(help="PEM file: serve TLS.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="PEM file with the certificate's private key.")
    ] = None,
) -> None:
    """Serve the API over HTTP; on another address than 127.0.0.1 or ::1 with bearer tokens (`revalue tokens`)."""
    from revalue.console.web.server import run_server

    url = database_url(Call.settings)
    asyncio.run(schema.require_head(url))
    run_server(
        url,
        Call.settings,
        host=host,
        port=port,
        require_token=require_token,
        certificate=certificate,
        key=key,
    )


@app.command("monitoring")
def export_monitoring(
    folder: Annotated[Path, typer.Argument(help="Where the files are written.")],
) -> None:
    """Write the Prometheus alert rules and the Grafana dashboard to FOLDER."""
    from revalue.console import monitoring

    for path in monitoring.export(writable_folder(folder)):
        out.print(str(path), markup=False)


@app.command()
def verify(
    rows: Annotated[
        int, typer.Option(min=1, help="At least this many rows, of positions drawn at random.")
    ] = 100_000,
    seed: Annotated[int, typer.Option()] = 0,
    every: Annotated[bool, typer.Option("--all", help="Every row.")] = False,
    as_json: Json = False,
) -> None:
    """Recompute stored rows one by one, in plain decimals, from the rules alone; exit 1 when any digit disagrees."""
    from revalue.console.cli.verify import verify_rows

    async def run(database: Database) -> Any:
        return await verify_rows(database, rows=None if every else rows, seed=seed)

    found = with_database(Call.settings, run)
    if as_json:
        print_json(found)
    else:
        out.print(
            f"{found.rows:,} rows of {found.positions:,} positions recomputed: {found.disagreements:,} disagreements"
        )
    if found.disagreements:
        raise RevalueError("stored rows disagree with the data:\n" + "\n".join(found.examples))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the picture is written.")] = Path(),
) -> None:
    """The whole walk on the sample book: load, value, correct a price in the past, reprocess, verify, draw."""
    from revalue.console.sample.demo import run_demo

    run_demo(Call.settings, writable_folder(folder))


@app.command()
def bench(
    workloads: Annotated[
        list[str],
        typer.Argument(help="backfill, roll, correction-day, correction-history, fx, storm, late."),
    ],
    positions: Annotated[int, typer.Option(min=1)] = 4_000,
    dates: Annotated[int, typer.Option(min=2)] = 250,
    runs: Annotated[
        int, typer.Option(min=1, help="Runs that count, after one that is dropped.")
    ] = 3,
    peers: Annotated[str, typer.Option(help="ceiling,sql,duckdb,per-job, or empty.")] = "",
    actors: Annotated[int | None, typer.Option(min=1)] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json-file", help="Write the figures here too.")
    ] = None,
) -> None:
    """Measure the engine, beside what a user would pick instead, in a database of its own on the same server."""
    from revalue.console.cli.bench import run_benchmarks

    settings = Call.settings.model_copy(update={"actors": actors} if actors else {})
    names = tuple(name for name in peers.split(",") if name)
    run_benchmarks(
        settings,
        database_url(settings),
        workloads,
        positions=positions,
        dates=dates,
        runs=runs,
        peers=names,
        json_path=json_path,
    )


@app.command()
def down() -> None:
    """Stop the embedded PostgreSQL (its data stay)."""
    if Call.settings.database_url is not None:
        raise UsageError(
            "a database address is set: only the embedded server can be stopped by `down`"
        )
    out.print("stopped" if embedded.stop(Call.settings.data_dir) else "it was not running")


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
