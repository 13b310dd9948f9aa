"""`revalue tokens`: who may call the API."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer

from revalue.console.cli.connection import with_database
from revalue.console.cli.context import Call, Json
from revalue.console.cli.output import out, print_json, print_table
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database

app = typer.Typer(no_args_is_help=True, help="Bearer tokens of the API: create, list, revoke.")


@app.command("create")
def create(
    name: str,
    scope: Annotated[list[str], typer.Option(help="read, operate; may be given twice.")],
    portfolio: Annotated[
        list[str] | None, typer.Option(help="Only for this portfolio; may be given often.")
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Without it the token does not expire.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it, this once: only its hash is stored."""

    async def run(database: Database) -> tuple[tokens.Token, str]:
        expires = None if expires_days is None else timedelta(days=expires_days)
        return await tokens.create(
            database, name, scope, portfolios=portfolio or None, expires=expires
        )

    token, secret = with_database(Call.settings, run)
    if as_json:
        print_json({**asdict(token), "token": secret})
    else:
        out.print(secret, markup=False)


@app.command("list")
def show(as_json: Json = False) -> None:
    """Every token there has been, without its secret."""
    found = with_database(Call.settings, tokens.listed)
    if as_json:
        print_json([asdict(token) for token in found])
        return
    columns = ("name", "scopes", "portfolios", "created", "expires", "revoked")
    print_table("Tokens", columns, [_line(token) for token in found])


@app.command("revoke")
def revoke(name: str) -> None:
    """End a token: the next call with it is refused."""

    async def run(database: Database) -> tokens.Token:
        return await tokens.revoke(database, name)

    out.print(f"token {with_database(Call.settings, run).name} is revoked", markup=False)


def _line(token: tokens.Token) -> tuple[Any, ...]:
    times = (
        f"{each:%Y-%m-%d %H:%M}" if each else None
        for each in (token.created_at, token.expires_at, token.revoked_at)
    )
    return (
        token.name,
        ", ".join(token.scopes),
        "all" if token.portfolios is None else ", ".join(token.portfolios),
        *times,
    )
