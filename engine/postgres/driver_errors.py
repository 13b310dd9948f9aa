"""What an error of PostgreSQL means for the engine: decided here, by SQLSTATE, for both drivers.

An error is of one of three kinds:

* **transient**: the server, the connection or another transaction is in the way. What waits for it
  tries again (TransientError).
* **of the data**: a value or a stored row is at fault (DataFaultError, CorrectionRefusedError).
  Only such an error isolates a job and can make it a dead letter.
* **of the environment**: everything else, for example a missing column or right. It is the same for
  every job, so it stops what is running (DatabaseSetupError, AccessDeniedError).
"""

from revalue.engine.errors import (
    AccessDeniedError,
    CorrectionRefusedError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    DataFaultError,
    RevalueError,
    StatementCancelledError,
    WriteConflictError,
)

_CONFLICTS = ("40",)
_LOCK_TIMEOUT = "55P03"
_CANCELLED = "57014"
_UNREACHABLE = (
    "08",  # the connection
    "25P03",  # the session was idle in a transaction for too long
    "25P04",  # the transaction took too long
    "55000",  # the database accepts no connections just now
    "55006",  # the database is in use by a command such as DROP DATABASE
    "57",  # an operator, or the server starts or stops
)
_UNABLE = (
    "25006",  # the server is read-only: a standby, or a provider that protects a full disk
    "53",  # disk, memory or connections are used up
    "58000",  # the server's system
    "58030",  # an I/O error
)
_DATA = (
    "22",  # a value
    "23",  # a constraint
    "54000",  # a value is too large for an index
    "XX",  # the server itself: a corrupted row, a bug
)
_REFUSED = "23001"  # restrict_violation: what the schema's own functions raise
_MISSING_RIGHT = "42501"
_NO_ACCESS = ("28", "3D")  # the user; the database
_OTHER_SCHEMA = ("0A", "3F", "42")  # objects that are missing, or have another form


def engine_error(
    sqlstate: str, message: str, *, hint: str | None = None, statement: str | None = None
) -> RevalueError:
    """Return the engine's error for an error of PostgreSQL.

    Args:
        sqlstate: its code, of five characters.
        message: what PostgreSQL says.
        hint: what PostgreSQL advises.
        statement: the name of the statement, or its beginning.
    """
    where = f" (statement {statement})" if statement else ""
    if sqlstate == _LOCK_TIMEOUT:
        return WriteConflictError(
            f"another session holds a lock for longer than is waited for: {message}{where}",
            is_lock_timeout=True,
        )
    if sqlstate.startswith(_CONFLICTS):
        return WriteConflictError(
            f"the transaction gave way to another one and can be run again: {message}"
        )
    if sqlstate == _CANCELLED:
        return StatementCancelledError(
            f"PostgreSQL ended the statement: {message}. Ask for less data, or try again later"
        )
    if sqlstate.startswith(_UNREACHABLE):
        return unreachable(message)
    if sqlstate.startswith(_UNABLE):
        return DatabaseUnavailableError(f"PostgreSQL cannot do its work at present: {message}")
    if sqlstate == _REFUSED:
        return CorrectionRefusedError(f"{message}.{f' {hint}' if hint else ''}")
    if sqlstate.startswith(_DATA):
        return DataFaultError(
            f"PostgreSQL cannot work with a value or a stored row: {message}{where}"
        )
    if sqlstate == _MISSING_RIGHT:
        return AccessDeniedError(
            f"PostgreSQL refuses this user a right: {message}{where}. Let the owner of the tables "
            "run SELECT grant_revalue_roles(), and make the user a member of revalue_engine, or of "
            "revalue_reader if it only reads"
        )
    if sqlstate.startswith(_NO_ACCESS):
        return AccessDeniedError(
            f"PostgreSQL refuses access: {message}. Check the address: user, password, database"
        )
    advice = (
        "The schema is not the one that this version works with: run `revalue migrate`. If it is "
        "up to date, somebody has changed the database by hand"
        if sqlstate.startswith(_OTHER_SCHEMA)
        else "Remove the cause: the statement fails in the same way until then"
    )
    return DatabaseSetupError(
        f"PostgreSQL refuses a statement of the engine: {message}{where}, "
        f"SQLSTATE {sqlstate}. {advice}"
    )


def unreachable(message: str) -> DatabaseUnavailableError:
    """Return the error of a connection that cannot be opened or is lost."""
    return DatabaseUnavailableError(f"PostgreSQL cannot be reached: {message}")
