"""`revalue tokens`: who may call the API."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import out, print_json, print_table
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke bearer tokens of the API.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token.")]


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE", help="`read` or `operate`; repeat the option to give both scopes."
        ),
    ],
    portfolio: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PORTFOLIO",
            help="Limit the token to this portfolio; repeat the option for several.",
        ),
    ] = None,
    expires_days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="Days of validity; without it there is no limit."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a token and print it. It is shown only now: the database stores its hash."""

    async def run(database: Database) -> tuple[tokens.Token, str]:
        expires = None if expires_days is None else timedelta(days=expires_days)
        return await tokens.create(
            database, name, scope, portfolios=portfolio or None, expires=expires
        )

    token, secret = CliContext.of(ctx).run(run)
    if as_json:
        print_json({**asdict(token), "token": secret})
    else:
        out.print(secret)


@app.command("list")
def show(ctx: typer.Context, as_json: Json = False) -> None:
    """List every token, revoked ones included, without its secret."""
    found = CliContext.of(ctx).run(tokens.listed)
    if as_json:
        print_json(found)
        return
    columns = ("name", "scopes", "portfolios", "created", "expires", "revoked")
    print_table("Tokens", columns, [_line(token) for token in found])


@app.command("revoke")
def revoke(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Revoke a token: calls with it are refused from now on."""

    async def run(database: Database) -> tokens.Token:
        return await tokens.revoke(database, name)

    token = CliContext.of(ctx).run(run)
    if as_json:
        print_json(token)
    else:
        out.print(f"token {token.name} is revoked")


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
