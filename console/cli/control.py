"""`revalue pause`, `resume` and `drain`: what an operator asks of the scheduler."""

import getpass
import socket
from dataclasses import asdict
from typing import Annotated

import typer

from revalue.console.cli.arguments import Json
from revalue.console.cli.context import CliContext
from revalue.console.cli.output import format_time, out, print_json
from revalue.console.cli.status import as_dict, print_status, what_is_left
from revalue.engine.leadership import control
from revalue.engine.leadership.control import Leader
from revalue.engine.operate.status import Status, read_status
from revalue.engine.postgres.database import Database


def pause(ctx: typer.Context, as_json: Json = False) -> None:
    """Start no new work until `revalue resume`; work in flight is finished and applied.

    The pause holds for later schedulers, too.
    """
    by = f"{getpass.getuser()}@{socket.gethostname()}"

    async def run(database: Database) -> Status:
        await control.pause(database, by)
        return await read_status(database)

    status = CliContext.of(ctx).run(run)
    if as_json:
        print_json(as_dict(status))
    else:
        print_status(status)


def resume(ctx: typer.Context, as_json: Json = False) -> None:
    """End a pause."""
    since = CliContext.of(ctx).run(control.resume)
    if as_json:
        print_json({"paused_since": since})
    elif since is None:
        out.print("there was no pause")
    else:
        out.print(f"resumed; the pause began at {format_time(since)}")


def drain(
    ctx: typer.Context,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the work in flight.")
    ] = 600,
    as_json: Json = False,
) -> None:
    """Ask the leading scheduler to finish its work in flight and end; say what is left to do."""
    context = CliContext.of(ctx)
    lease = context.settings.lease_seconds

    async def run(database: Database) -> tuple[Leader, Status]:
        leader = await control.drain(database, seconds=timeout, lease_seconds=lease)
        return leader, await read_status(database, exact=True)

    leader, status = context.run(run)
    if as_json:
        print_json({"leader": asdict(leader), "status": as_dict(status)})
        return
    if leader.holder is None:
        out.print("no scheduler leads")
    elif leader.is_dead:
        out.print(
            f"scheduler {leader.holder} (term {leader.term}) sends no heartbeat and is considered "
            "dead: the next scheduler releases its work"
        )
    else:
        out.print(f"scheduler {leader.holder} (term {leader.term}) has ended")
    out.print(what_is_left(status))
