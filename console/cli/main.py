"""The command `revalue`: its global options, its commands, and what becomes of errors.

Results go to standard output, progress and errors to standard error. docs/operating.md lists the
exit codes; each class of engine/errors.py has its own.
"""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from revalue.console.cli.global_options import PANEL, GlobalOptionsGroup, remember
from revalue.console.cli.output import err, out
from revalue.engine.errors import RevalueError


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"revalue {version('revalue')}")
        raise typer.Exit


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

COMMANDS = {
    "demo": (_START, "demo.demo"),
    "sample": (_START, "load.load_sample"),
    "migrate": (_DATA, "database.migrate"),
    "load": (_DATA, "load.load"),
    "loads": (_DATA, "loads.app"),
    "correct": (_DATA, "correct.app"),
    "currencies": (_DATA, "currencies.app"),
    "policy": (_DATA, "policy.app"),
    "open": (_WORK, "openings.open_days"),
    "value": (_WORK, "value.value"),
    "exceptions": (_WORK, "exceptions.app"),
    "read": (_WORK, "read.app"),
    "export": (_WORK, "export.export"),
    "explain": (_WORK, "explain.explain"),
    "verify": (_WORK, "verify.verify"),
    "status": (_OPERATE, "status.status"),
    "jobs": (_OPERATE, "jobs.app"),
    "dead-letters": (_OPERATE, "jobs.dead_letters"),
    "pause": (_OPERATE, "control.pause"),
    "resume": (_OPERATE, "control.resume"),
    "drain": (_OPERATE, "control.drain"),
    "database": (_OPERATE, "database.database"),
    "prune": (_OPERATE, "prune.prune"),
    "lake": (_OPERATE, "lake.app"),
    "books": (_OPERATE, "books.app"),
    "down": (_OPERATE, "database.down"),
    "serve": (_SERVE, "serve.serve"),
    "tokens": (_SERVE, "tokens.app"),
    "serve-metrics": (_SERVE, "serve.serve_metrics"),
    "monitoring": (_SERVE, "serve.export_monitoring"),
    "bench": (_MEASURE, "bench.bench"),
}
"""Where a command is found: its panel of the help, and its function, or the group `app`, in a
module of this folder."""

GLOBAL_OPTIONS = ("--database-url", "--data-dir", "--book", "--ray-address", "--log-level")
"""Those that take a value."""


def command_line(*names: str) -> typer.Typer:
    """Return the command line with some of its commands.

    Their modules are imported: those of all commands take as long as what all of them share.
    """
    made = typer.Typer(
        cls=GlobalOptionsGroup,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Value positions, and restate their history when prices, FX rates or positions are "
        "corrected.",
    )
    made.callback()(options)
    for name in names:
        panel, place = COMMANDS[name]
        module, _, attribute = place.partition(".")
        found = getattr(import_module(f"revalue.console.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name, rich_help_panel=panel)
        else:
            made.command(name, rich_help_panel=panel)(found)
    return made


def named_command(arguments: Sequence[str]) -> str | None:
    """Return the name of the command that is called.

    None if the line names none for sure: it asks for the help, is to be completed, or is wrong.
    """
    words = iter(arguments)
    for word in words:
        if word in GLOBAL_OPTIONS:
            next(words, None)
        elif not word.startswith(tuple(f"{option}=" for option in GLOBAL_OPTIONS)):
            return word if word in COMMANDS else None
    return None


def __getattr__(name: str) -> typer.Typer:
    """Make `app`, the command line with all commands, when it is asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = command_line(*COMMANDS)
    return made


def main() -> None:
    """Run the command line; print an error of the engine as one message and exit with its code."""
    name = named_command(sys.argv[1:])
    try:
        app = command_line(*COMMANDS if name is None else [name])
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
    """Print an error on standard error: as one JSON document if the result was to be one.

    What is wrong comes first, and the name of the error, which the runbook explains, behind it.
    """
    name = type(error).__name__
    if _wants_json():
        _print_json_error(name, str(error), error.exit_code)
        return
    first, *others = str(error).splitlines() or [""]
    err.print("error: ", style="bold red", end="")
    err.print("\n".join([f"{first} ({name})", *others]))


if __name__ == "__main__":
    main()
