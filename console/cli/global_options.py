"""Global options: accepted before the command and after it."""

from copy import copy
from typing import Any

import typer
from typer.core import TyperGroup

from revalue.console.cli.context import CliContext

PANEL = "Global options"


def remember(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Store the value of a global option, if one was given, in the context of the call."""
    if value is not None:
        CliContext.of(ctx).options[param.name] = value
    return value


class GlobalOptionsGroup(TyperGroup):
    """A group whose options of the panel "Global options" are options of every command below it.

    Each command gets a copy. So the parser itself tells an option from the value of another option
    and from an argument after `--`. Of an option that is given twice the last one counts.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        shared = []
        for option in self.params:
            if getattr(option, "rich_help_panel", None) == PANEL:
                shared.append(copy(option))
                shared[-1].expose_value = False  # the command's function does not take it
        _append(self, shared)


def _append(group: TyperGroup, options: list[Any]) -> None:
    for command in group.commands.values():
        command.params += options
        if isinstance(command, TyperGroup):
            _append(command, options)
