"""What one call of the command line works with: its settings and its database."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, TypeVar

import typer
from pydantic import ValidationError

from revalue.console.cli.connection import with_database
from revalue.engine import logs
from revalue.engine.errors import UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

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
        try:
            settings = Settings(**self.options)
        except ValidationError as error:
            wrong = (
                f"REVALUE_{str(each['loc'][0]).upper()}={each['input']}: {each['msg']}"
                for each in error.errors()
            )
            raise UsageError("; ".join(wrong)) from None
        logs.configure(settings.log_level)
        logs.correlate()
        return settings

    def run(self, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
        """Open the database, run `work` on it and return its result."""
        return with_database(self.settings, work)
