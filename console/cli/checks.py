"""What a command checks before it starts: a folder, a confirmation, an optional package."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from revalue.engine.errors import UsageError


def writable_folder(folder: Path) -> Path:
    """Return the folder; create it if it is missing.

    Raises:
        UsageError: it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"folder {folder} cannot be created: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"folder {folder} cannot be written to")
    return folder


def require_confirmation(loss: str, *, confirmed: bool) -> None:
    """Ask on a terminal whether to go on; elsewhere `confirmed` (the option --yes) is required.

    Args:
        loss: what would be lost, as a sentence without a full stop.

    Raises:
        UsageError: nobody can be asked, and --yes was not given.
        typer.Abort: the answer is no.
    """
    if confirmed:
        return
    require_somebody(loss)
    typer.confirm(f"{loss}. Go on?", abort=True, err=True)


def require_somebody(loss: str) -> None:
    """Require a terminal, on which somebody can be asked.

    Args:
        loss: as for `require_confirmation`.

    Raises:
        UsageError: nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{loss}; pass --yes to confirm")


@contextmanager
def optional_packages(extra: str) -> Iterator[None]:
    """Import packages of an extra in this block.

    Raises:
        UsageError: one of them is not installed; the message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "revalue":
            raise
        raise UsageError(
            f"this command needs the package {error.name.partition('.')[0]!r}, which is not "
            f"installed: install revalue with its extra {extra!r}, as `revalue[{extra}]`"
        ) from error
