"""`revalue books`: the books of the embedded server, by name."""

import asyncio
from contextlib import suppress
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json, Yes
from revalue.console.cli.checks import require_confirmation
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import out, print_json, print_table
from revalue.engine.errors import DatabaseSetupError
from revalue.engine.lake import ownership
from revalue.engine.postgres import books, embedded
from revalue.engine.postgres.database import Database

app = typer.Typer()


@app.callback(invoke_without_command=True)
def list_books(ctx: typer.Context, as_json: Json = False) -> None:
    """List the books of the embedded server, or delete one. `--book NAME` works with a book."""
    if ctx.invoked_subcommand is not None:
        return
    found = asyncio.run(books.stored(embedded.server_address(CliContext.of(ctx).settings)))
    if as_json:
        print_json(found)
        return
    columns = ("book", "megabytes", "database sessions")
    rows = [(each.name, f"{each.bytes / 2**20:,.1f}", each.sessions) for each in found]
    print_table("Books", columns, rows)


@app.command("delete")
def delete(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the book.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete a book with all of its data. It is refused while anything is connected to it.

    Files of its lake stay where they are.
    """
    server = embedded.server_address(CliContext.of(ctx).settings)
    asyncio.run(books.require(server, name))
    require_confirmation(
        f"this deletes the book {name} with all of its data: portfolios, prices, FX rates, "
        "positions and all valuations",
        confirmed=yes,
    )
    lake = asyncio.run(_lake(books.address_of(server, name)))
    asyncio.run(books.delete(server, name))
    if as_json:
        print_json({"deleted": name, "lake_left": lake})
        return
    out.print(f"the book {name} is deleted")
    if lake is not None:
        out.print(f"nothing refers to the files of its lake any more, {lake}: delete them yourself")


async def _lake(url: str) -> str | None:
    """Return the address of the lake that a book owns; None: it has none, or an older schema."""
    with suppress(DatabaseSetupError):
        async with (
            await Database.open(url, connections=1) as database,
            database.connection() as connection,
        ):
            return await ownership.own_address(connection)
    return None
