"""Groups of commands that show something when none of their commands is called."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from revalue.console.cli.context import CliContext
from revalue.console.cli.output import print_json
from revalue.engine.postgres.database import Database

T = TypeVar("T")


def read_unless_called(
    ctx: typer.Context, read: Callable[[Database], Coroutine[Any, Any, T]], *, as_json: bool
) -> T | None:
    """Read what a group shows, unless one of its commands is called; print it if it is to be JSON.

    Returns:
        What is left to be printed for people; None: nothing is.
    """
    if ctx.invoked_subcommand is not None:
        return None
    found = CliContext.of(ctx).run(read)
    if as_json:
        print_json(found)
        return None
    return found
