"""Every error that the engine raises on purpose, permanent or transient.

A message says what is wrong, where, and what to do.
"""


class RevalueError(Exception):
    """The root of the engine's errors."""

    exit_code = 1


class PermanentError(RevalueError):
    """Trying again without a change gives the same error."""


class TransientError(RevalueError):
    """Trying again later may succeed; nothing was left half done."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class InvalidInputError(PermanentError):
    """The input breaks a rule; nothing of it was written."""

    exit_code = 65  # EX_DATAERR


class UsageError(PermanentError):
    """The call asks for something that is impossible."""

    exit_code = 2


class NotYetKnownError(UsageError):
    """known_at is in the future."""


class NoLongerKnownError(UsageError):
    """known_at is before the retention floor: what was shown then has been pruned."""


class PreviewTooLargeError(UsageError):
    """A preview would take too much memory. Preview fewer corrections, or fewer dates, at once."""


class KeyReusedError(UsageError):
    """The key of a request was used for another one. Give each request a key of its own."""


class ReportTooLargeError(UsageError):
    """A report would take too much memory. Ask for fewer portfolios at once."""


class NotFoundError(PermanentError):
    """What was asked for does not exist."""

    exit_code = 4


class IncompleteInstallationError(PermanentError):
    """A file of the package is missing. Install the package `revalue` again."""


class DatabaseSetupError(PermanentError):
    """The database lacks something that the engine needs, or has it in another form.

    It is no fault of a job, and no retry helps: whatever is running stops.
    """

    exit_code = 78  # EX_CONFIG


class SchemaVersionError(DatabaseSetupError):
    """The database's schema is not the one that this version works with. Run `revalue migrate`."""


class AccessDeniedError(DatabaseSetupError):
    """PostgreSQL refuses this user, or a right to it, or the database does not exist."""

    exit_code = 77  # EX_NOPERM


class StorageSetupError(PermanentError):
    """The storage of the lake refuses or lacks what the engine needs: a bucket, space, its disk.

    It is no fault of a job, and no retry helps: whatever is running stops.
    """

    exit_code = 78


class StorageAccessError(StorageSetupError):
    """The storage of the lake refuses this user, or a right to it."""

    exit_code = 77


class StorageFileMissingError(StorageSetupError):
    """A file of the lake that should be there is missing. Restore it from a backup."""


class DataFaultError(PermanentError):
    """PostgreSQL cannot work with a value or a stored row; nothing was written."""

    exit_code = 65  # EX_DATAERR


class CorrectionRefusedError(PermanentError):
    """The database refused a change that cannot become a correction; nothing was written."""

    exit_code = 65


class TermLostError(PermanentError):
    """Another scheduler holds a newer term; this one has stopped and wrote nothing more."""

    exit_code = 3


class LeaderActiveError(PermanentError):
    """Another scheduler holds the term and is alive."""

    exit_code = 3


class LakeFaultError(PermanentError):
    """A file of the lake is missing or damaged, or a row is stored twice."""

    exit_code = 65


class ExportFaultError(PermanentError):
    """A table that was exported is damaged. Export to an empty target."""

    exit_code = 65


class NotAllInPostgresError(PermanentError):
    """A view of the database cannot show what is in the lake. Use the engine's own readers."""


class DatabaseUnavailableError(TransientError):
    """PostgreSQL cannot be reached, went away, or cannot do its work at present."""


class StorageUnavailableError(TransientError):
    """The storage of the lake cannot be reached, or cannot do its work at present."""


class OutageError(TransientError):
    """What a scheduler needs has been missing for longer than it waits: it has ended."""


class StatementCancelledError(TransientError):
    """PostgreSQL ended a statement: it took longer than allowed, or an operator cancelled it."""


class RequestInProgressError(TransientError):
    """The same request is in progress. Send it again later: it then gets the answer."""


class PlanTooLongError(TransientError):
    """A preview would have locked what it corrects for longer than allowed; it was abandoned."""


class BookInUseError(TransientError):
    """A book was not deleted: database sessions are open on it."""


class WriteConflictError(TransientError):
    """This transaction had to give way (deadlock, serialization failure, lock timeout).

    Attributes:
        is_lock_timeout: it was rolled back because another session holds a lock for longer than
            this one waits.
    """

    def __init__(self, message: str, *, is_lock_timeout: bool = False) -> None:
        super().__init__(message)
        self.is_lock_timeout = is_lock_timeout


class ValuationIncompleteError(RevalueError):
    """The run ended with positions that are not current: they wait for data or have failed."""

    exit_code = 5
