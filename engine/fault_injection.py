"""Fault points: named places at which tests kill, stop or disturb the process.

They do nothing unless the environment variable REVALUE_FAULTS names a folder. A file
`<point>.<action>` in it arms a fault. The first process that reaches the point renames the file to
`<point>.<action>.<pid>`, so that the fault happens once, and performs the action.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from revalue.engine.errors import DatabaseUnavailableError, WriteConflictError

_FOLDER = os.environ.get("REVALUE_FAULTS")

_TRANSACTIONS = ("acquire", "fan_out", "stage", "retry", "apply", "release", "recover")

POINTS = (
    # A transaction of the scheduler: its term is locked; all is written; it is committed.
    *(f"{step}.{at}" for step in _TRANSACTIONS for at in ("begun", "written", "committed")),
    # A valuation actor: has received its task; has read its inputs; has computed; has prepared its
    # rows (they are stored, if they are a file); has marked its jobs; has copied its rows or
    # recorded their file; has committed.
    *(
        f"value.{at}"
        for at in ("begun", "read", "computed", "stored", "marked", "copied", "committed")
    ),
)
"""The points of a scheduler and of its valuation actors."""

MAINTENANCE_POINTS = ("maintain.stored", "maintain.recorded")
"""The maintenance of the lake: has stored a file; has recorded files in place of others."""

EXPORT_POINTS = ("export.stored", "export.committed")
"""An export: has stored its data files; has committed, and no pointer says so yet."""


class InjectedError(Exception):
    """An error that the engine does not know."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _lose() -> None:
    raise DatabaseUnavailableError(
        "injected: the connection is lost; it is unknown whether the last commit succeeded"
    )


def _conflict() -> None:
    raise WriteConflictError("injected: the transaction gave way to another one")


def _break() -> None:
    raise InjectedError("injected: an unexpected error")


ACTIONS: dict[str, Callable[[], None]] = {
    "KILL": _kill,
    "STOP": _stop,
    "LOSE": _lose,
    "CONFLICT": _conflict,
    "BREAK": _break,
}


def fault_point(point: str) -> None:
    """Mark that the process has reached a point; perform the fault that is armed for it, if any."""
    if _FOLDER is None:
        return
    for action, perform in ACTIONS.items():
        armed = Path(_FOLDER) / f"{point}.{action}"
        try:
            armed.rename(f"{armed}.{os.getpid()}")
        except FileNotFoundError:
            continue
        perform()
