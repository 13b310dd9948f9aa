"""What one call of the command line works with: its settings and its database."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, TypeVar

import typer

from revalue.console.cli.connection import with_database
from revalue.engine import logs
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings, settings_of

T = TypeVar("T")


class CliContext:
    """The global options of one call, and what follows from them.

    Attributes:
        options: global options that were given, by the name of the setting. They take precedence
            over environment variables.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    @staticmethod
    def of(ctx: typer.Context) -> "CliContext":
        """Return the one context of this call."""
        return ctx.ensure_object(CliContext)

    @cached_property
    def settings(self) -> Settings:
        """The settings. They are read on first use, so that `--help` works with wrong ones, too.

        Raises:
            UsageError: a setting has an impossible value.
        """
        settings = settings_of(**self.options)
        logs.configure(settings.log_level)
        logs.correlate()
        return settings

    def run(self, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
        """Open the database, run `work` on it and return its result."""
        return with_database(self.settings, work)
