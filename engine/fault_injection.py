"""Named points at which tests make this process die, stand still or fail. They do nothing unless REVALUE_FAULTS is set.

It names a folder. A fault is armed there by a file `<point>.<action>`; the first process that comes to the point takes it
(renames it to `<point>.<action>.<pid>`), so that it happens once, and does what it says.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from revalue.engine.errors import DatabaseUnavailableError, WriteConflictError

_FOLDER = os.environ.get("REVALUE_FAULTS")

_TRANSACTIONS = ("acquire", "fan_out", "stage", "retry", "apply", "release", "recover")

POINTS = (
    # A transaction of the scheduler: its term is locked, all is written, it is committed.
    *(f"{move}.{step}" for move in _TRANSACTIONS for step in ("begun", "written", "committed")),
    # A valuation actor: has its task, has read, has computed, has marked its jobs, has copied its rows, has committed.
    *(f"value.{step}" for step in ("begun", "read", "computed", "marked", "copied", "committed")),
)


class InjectedError(Exception):
    """What nobody expected: an error of no known class."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _lose() -> None:
    raise DatabaseUnavailableError(
        "injected: the connection is lost; whether the last commit was done is not known"
    )


def _conflict() -> None:
    raise WriteConflictError("injected: the transaction gave way to another")


def _break() -> None:
    raise InjectedError("injected: an error that nobody expected")


ACTIONS: dict[str, Callable[[], None]] = {
    "KILL": _kill,
    "STOP": _stop,
    "LOSE": _lose,
    "CONFLICT": _conflict,
    "BREAK": _break,
}


def fault_point(point: str) -> None:
    """The process is at this point: a fault that is armed for it happens."""
    if _FOLDER is None:
        return
    for action, happen in ACTIONS.items():
        armed = Path(_FOLDER) / f"{point}.{action}"
        try:
            armed.rename(f"{armed}.{os.getpid()}")
        except FileNotFoundError:
            continue
        happen()
