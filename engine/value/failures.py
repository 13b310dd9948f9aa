"""Which errors are those of a position's data, and what becomes of a span that meets one."""

import traceback

from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import CorrectionRefusedError, DataFaultError, RevalueError

_TRACEBACK_CHARACTERS = 8_000
_OF_THE_DATA = (DataFaultError, CorrectionRefusedError)


def reraise_unless_failure(error: BaseException) -> None:
    """Return for an error that the data of a position can cause; raise any other one again.

    Of the engine's own errors these are the two that say so: the others are of the database or of
    its setup. A panic of polars or pgpq is a failure but not an Exception; each library has its own
    class.
    """
    if isinstance(error, RevalueError):
        if not isinstance(error, _OF_THE_DATA):
            raise error
    elif not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def after_failure(attempts: int, error: BaseException, max_attempts: int) -> tuple[str, str | None]:
    """Return a span's new status and, after its last attempt, the traceback for its dead letter."""
    if attempts < max_attempts:
        return JobStatus.PENDING.value, None
    trace = "".join(traceback.format_exception(error))
    return JobStatus.FAILED.value, trace[-_TRACEBACK_CHARACTERS:]
