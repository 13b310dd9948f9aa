"""What the command line was called with: settings from its options and the environment, shared by the files of commands."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from revalue.engine import logs
from revalue.engine.errors import UsageError
from revalue.engine.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Call:
    """The one call that this process is."""

    settings = Settings.model_construct()


def configure(**given: Any) -> None:
    """Reads the settings; what is given on the command line (not None) goes before the environment. Raises UsageError."""
    try:
        Call.settings = Settings(
            **{name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        wrong = (
            f"REVALUE_{str(e['loc'][0]).upper()}={e['input']}: {e['msg']}" for e in error.errors()
        )
        raise UsageError("; ".join(wrong)) from None
    logs.configure(Call.settings.log_level)
    logs.correlate()
