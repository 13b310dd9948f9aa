"""The command `revalue`: its global options, its commands, and what becomes of errors.

Results go to standard output, progress and errors to standard error. docs/operating.md lists the
exit codes; each class of engine/errors.py has its own.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from revalue.console.cli import (
    bench,
    books,
    control,
    correct,
    currencies,
    database,
    demo,
    exceptions,
    explain,
    export,
    jobs,
    lake,
    load,
    loads,
    openings,
    policy,
    prune,
    read,
    serve,
    status,
    tokens,
    value,
    verify,
)
from revalue.console.cli.global_options import PANEL, GlobalOptionsGroup, remember
from revalue.console.cli.output import err, out
from revalue.engine.errors import RevalueError

app = typer.Typer(
    cls=GlobalOptionsGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Value positions, and restate their history when prices, FX rates or positions are "
    "corrected.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"revalue {version('revalue')}")
        raise typer.Exit


@app.callback()
def options(
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql:// address. Default: REVALUE_DATABASE_URL, or the embedded server.",
            callback=remember,
            rich_help_panel=PANEL,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the embedded server. Default: REVALUE_DATA_DIR, or a folder of yours.",
            callback=remember,
            rich_help_panel=PANEL,
        ),
    ] = None,
    book: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Book of the embedded server: a database of it. Default: REVALUE_BOOK, or its "
            "first one.",
            callback=remember,
            rich_help_panel=PANEL,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of a Ray cluster. Default: REVALUE_RAY_ADDRESS, or a local Ray.",
            callback=remember,
            rich_help_panel=PANEL,
        ),
    ] = None,
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None,
        typer.Option(
            case_sensitive=False,
            help="Lowest level that is logged. Default: REVALUE_LOG_LEVEL, or WARNING.",
            callback=remember,
            rich_help_panel=PANEL,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the global options; `remember` stores them in the context of the call."""


_START, _DATA, _WORK = "Get started", "Data", "Valuation"
_OPERATE, _SERVE, _MEASURE = "Operation", "Services", "Benchmarks"

app.command("demo", rich_help_panel=_START)(demo.demo)
app.command("sample", rich_help_panel=_START)(load.load_sample)
app.command("migrate", rich_help_panel=_DATA)(database.migrate)
app.command("load", rich_help_panel=_DATA)(load.load)
app.add_typer(loads.app, name="loads", rich_help_panel=_DATA)
app.add_typer(correct.app, name="correct", rich_help_panel=_DATA)
app.add_typer(currencies.app, name="currencies", rich_help_panel=_DATA)
app.add_typer(policy.app, name="policy", rich_help_panel=_DATA)
app.command("open", rich_help_panel=_WORK)(openings.open_days)
app.command("value", rich_help_panel=_WORK)(value.value)
app.add_typer(exceptions.app, name="exceptions", rich_help_panel=_WORK)
app.add_typer(read.app, name="read", rich_help_panel=_WORK)
app.command("export", rich_help_panel=_WORK)(export.export)
app.command("explain", rich_help_panel=_WORK)(explain.explain)
app.command("verify", rich_help_panel=_WORK)(verify.verify)
app.command("status", rich_help_panel=_OPERATE)(status.status)
app.add_typer(jobs.app, name="jobs", rich_help_panel=_OPERATE)
app.command("dead-letters", rich_help_panel=_OPERATE)(jobs.dead_letters)
app.command("pause", rich_help_panel=_OPERATE)(control.pause)
app.command("resume", rich_help_panel=_OPERATE)(control.resume)
app.command("drain", rich_help_panel=_OPERATE)(control.drain)
app.command("database", rich_help_panel=_OPERATE)(database.database)
app.command("prune", rich_help_panel=_OPERATE)(prune.prune)
app.add_typer(lake.app, name="lake", rich_help_panel=_OPERATE)
app.add_typer(books.app, name="books", rich_help_panel=_OPERATE)
app.command("down", rich_help_panel=_OPERATE)(database.down)
app.command("serve", rich_help_panel=_SERVE)(serve.serve)
app.add_typer(tokens.app, name="tokens", rich_help_panel=_SERVE)
app.command("serve-metrics", rich_help_panel=_SERVE)(serve.serve_metrics)
app.command("monitoring", rich_help_panel=_SERVE)(serve.export_monitoring)
app.command("bench", rich_help_panel=_MEASURE)(bench.bench)


def main() -> None:
    """Run the command line; print an error of the engine as one message and exit with its code."""
    try:
        if _wants_json():
            # Not in its own mode, in which it prints wrong arguments as text, and exits.
            code = app(standalone_mode=False)
            sys.exit(code if isinstance(code, int) else 0)
        app()
    except _ArgumentError as error:
        _print_json_error("UsageError", error.format_message(), error.exit_code)
        sys.exit(error.exit_code)
    except RevalueError as error:
        _print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


# The class of all errors that the option parser tells; typer exports only those below it.
_ArgumentError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[2])


def _wants_json() -> bool:
    return "--json" in sys.argv[1:]


def _print_json_error(name: str, message: str, exit_code: int) -> None:
    err.print(json.dumps({"error": name, "message": message, "exit_code": exit_code}))


def _print_error(error: RevalueError) -> None:
    """Print an error on standard error: as one JSON document if the result was to be one."""
    name = type(error).__name__
    if _wants_json():
        _print_json_error(name, str(error), error.exit_code)
    else:
        err.print("error: ", style="bold red", end="")
        err.print(f"{name}: {error}")


if __name__ == "__main__":
    main()
