"""The public Python API. A book is a database of positions: load, correct, value and read it.

`connect` opens a book. Its everyday calls are methods of it: those of `Writes` change it, those of
`Reads` return its numbers, and those of `Exceptions` list what needs attention. `Book.loads` and
`Book.jobs` have the rest.

All calls block. Dates are datetime.date, amounts decimal.Decimal, frames polars. Every error is a
RevalueError: a PermanentError is the same when the call is repeated without a change, after a
TransientError (DatabaseUnavailableError, WriteConflictError, StatementCancelledError,
PlanTooLongError) the call may be repeated.
"""

from revalue.engine.book.book import Book, connect
from revalue.engine.book.exceptions import Exceptions
from revalue.engine.book.jobs import Job, Jobs
from revalue.engine.book.loads import Loads
from revalue.engine.book.reads import Reads
from revalue.engine.book.writes import Writes
from revalue.engine.correct.loads.recorded import Load
from revalue.engine.correct.reverts.reverts import Revert
from revalue.engine.operate.retries import Retried

__all__ = [
    "Book",
    "Exceptions",
    "Job",
    "Jobs",
    "Load",
    "Loads",
    "Reads",
    "Retried",
    "Revert",
    "Writes",
    "connect",
]
