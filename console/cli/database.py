"""The schema (`revalue migrate`), the address (`revalue database`) and the server (`down`)."""

import asyncio
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json, Yes
from revalue.console.cli.checks import require_confirmation
from revalue.console.cli.connection import database_url
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import out, print_json
from revalue.console.cli.progress import migrate_line
from revalue.console.cli.stop_signals import told_when_stopped
from revalue.engine.errors import UsageError
from revalue.engine.postgres import embedded, schema


def migrate(
    ctx: typer.Context,
    revision: Annotated[
        str,
        typer.Argument(
            metavar="REVISION",
            help="`head`: the newest one; a number: that one; `base`: remove the schema.",
        ),
    ] = "head",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Create the schema of the database, or bring it to this version or to REVISION.

    A book that --book names is created if there is none. An older revision deletes data: you are
    asked first, or pass --yes.
    """
    url = database_url(CliContext.of(ctx).settings, creates=revision != "base")
    current = asyncio.run(schema.current_revision(url))
    if current is not None and (revision == "base" or revision < current):
        require_confirmation(_loss(current, revision), confirmed=yes)
    with (
        told_when_stopped(lambda: _reached(url)),
        migrate_line(show=not as_json) as on_migration,
    ):
        reached = asyncio.run(schema.migrate(url, revision, on_migration=on_migration))
    if as_json:
        print_json({"revision": reached})
    else:
        out.print(f"the schema is at revision {reached}")


def _reached(url: str) -> str:
    """Say which revision the schema has when a migration was stopped."""
    revision = asyncio.run(schema.current_revision(url)) or "base"
    return f"the schema is at revision {revision}; the migration that was running is rolled back"


def _loss(current: str, revision: str) -> str:
    if revision == "base":
        return (
            "this deletes every table of revalue with its data: portfolios, prices, FX rates, "
            "positions and all valuations"
        )
    return (
        f"this takes the schema from revision {current} back to {revision} and deletes the data "
        f"of every table and column that revision {revision} does not have"
    )


def database(
    ctx: typer.Context,
    address: Annotated[bool, typer.Option("--address", help="Print the address only.")] = False,
    programs: Annotated[
        bool, typer.Option("--programs", help="Print the folder of PostgreSQL's programs only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell which database this is, and where pg_dump, pg_restore and psql are to back it up.

    The embedded server is started if it does not run. An address is printed as it is set, with its
    password. The programs are those of the embedded server; they can read any server that is not
    newer.
    """
    url = database_url(CliContext.of(ctx).settings)
    found = {"address": url, "programs": str(embedded.programs())}
    asked = [name for name, is_asked in (("address", address), ("programs", programs)) if is_asked]
    if as_json:
        print_json({name: found[name] for name in asked or found})
    else:
        for name in asked or found:
            typer.echo(found[name] if asked else f"{name:9} {found[name]}")


def down(ctx: typer.Context, as_json: Json = False) -> None:
    """Stop the embedded PostgreSQL server, with all of its books. Their data stay."""
    settings = CliContext.of(ctx).settings
    if settings.database_url is not None:
        raise UsageError(
            "a database address is set: `down` stops only the embedded server, not yours"
        )
    stopped = embedded.stop(settings.data_dir)
    if as_json:
        print_json({"stopped": stopped})
    else:
        out.print("the embedded server is stopped" if stopped else "no embedded server was running")
