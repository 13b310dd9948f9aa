"""Decide what an error of PostgreSQL means for the engine, by SQLSTATE, for both drivers.

An error is of one of three kinds:

* **transient**: the server, the connection or another transaction is in the way. What waits for it
  tries again (TransientError).
* **of the data**: a value or a stored row is at fault (DataFaultError, CorrectionRefusedError).
  Only such an error isolates a job and can make it a dead letter.
* **of the environment**: everything else, for example a missing column or right. It is the same for
  every job, so it stops what is running (DatabaseSetupError, AccessDeniedError).
"""

import re
import ssl

from revalue.engine.errors import (
    AccessDeniedError,
    CorrectionRefusedError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    DataFaultError,
    NoLongerKnownError,
    NotAllInPostgresError,
    RevalueError,
    StatementCancelledError,
    UsageError,
    WriteConflictError,
)

_CONFLICTS = ("40",)
_LOCK_TIMEOUT = "55P03"
_CANCELLED = "57014"
_UNREACHABLE = (
    "08",  # the connection
    "25P03",  # the session was idle in a transaction for too long
    "25P04",  # the transaction took too long
    "57P0",  # an operator ended the session, or the server starts or stops
)
# The database accepts no connections just now; others have this code that are the same each time.
_PREREQUISITE = "55000"
_NOT_ACCEPTING = "not currently accepting connections"
_UNABLE = (
    "25006",  # the server is read-only: a standby, or a provider that protects a full disk
    "53",  # disk, memory or connections are used up
)
_DATA = (
    "22",  # a value
    "23",  # a constraint
    "54000",  # a value is too large for an index
    "XX",  # the server itself: a corrupted row, a bug
)
_CHECK = "23514"
# What the schema's own functions raise: restrict_violation; a known_at before the floor; rows that
# a view cannot show.
_RAISED: dict[str, type[RevalueError]] = {
    "23001": CorrectionRefusedError,
    "RV410": NoLongerKnownError,
    "RV411": NotAllInPostgresError,
}
_MISSING_RIGHT = "42501"
_NO_ACCESS = ("28", "3D")  # the user; the database
# What a connection pooler says under the SQLSTATE of a broken protocol, as PgBouncer does for all
# its own errors. These are the same at each attempt; others pass, such as query_wait_timeout.
_PROTOCOL = "08P01"
STARTUP_REFUSED = "unsupported startup parameter"
_POOLER_HAS_NO_ACCESS = (
    "no such database",
    "no such user",
    "authentication failed",
    "does not exist",  # the database or the user, as the server has told the pooler
    "no pg_hba.conf entry",
    "permission denied for database",
    "is not permitted to log in",
)
_POOLER_SHARES_SESSIONS = "transaction blocks not allowed"
# A prepared statement is not there, or that of another client is.
_LOST_STATEMENTS = ("26000", "42P05")
_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError)
_DAMAGED = "RECORD_MAC"
_NOT_OFFERED = "rejected SSL upgrade"  # of asyncpg
_OF_CERTIFICATES = ("private key file", "certificate")
# What libpq says of an address before it looks for a server.
_OF_ADDRESS = re.compile(
    r"invalid (URI|integer value|percent-encoded|\w+ value|SCRAM)|forbidden value|"
    r"(definition of )?service .*not found|missing key/value separator|could not parse port"
)
_OTHER_SCHEMA = ("0A", "3F", "42")  # objects that are missing, or have another form


def engine_error(
    sqlstate: str,
    message: str,
    *,
    hint: str | None = None,
    statement: str | None = None,
    names_table_only: bool = False,
) -> RevalueError:
    """Return the engine's error for an error of PostgreSQL.

    Args:
        sqlstate: its code, of five characters.
        message: what PostgreSQL says.
        hint: what PostgreSQL advises.
        statement: the name of the statement, or its beginning.
        names_table_only: it names the table of a row, and no constraint that the row violates.
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
    if sqlstate in _LOST_STATEMENTS or _POOLER_SHARES_SESSIONS in message:
        return shared_sessions(f"{message}{where}")
    if sqlstate == _PROTOCOL and STARTUP_REFUSED in message:
        return DatabaseSetupError(
            f"the connection pooler refuses what the address sets: {message}. Set it for the user "
            "or the database (ALTER ROLE ... SET, ALTER DATABASE ... SET) and not in the address"
        )
    if sqlstate == _PROTOCOL and any(said in message for said in _POOLER_HAS_NO_ACCESS):
        return _no_access(message)
    if sqlstate.startswith(_UNREACHABLE) or (
        sqlstate == _PREREQUISITE and _NOT_ACCEPTING in message
    ):
        return unreachable(message)
    if sqlstate.startswith(_UNABLE):
        return DatabaseUnavailableError(f"PostgreSQL cannot do its work at present: {message}")
    if sqlstate in _RAISED:
        return _RAISED[sqlstate](f"{message}.{f' {hint}' if hint else ''}")
    if sqlstate.startswith(_DATA):
        return _fault_of_data(sqlstate, f"{message}{where}", names_table_only)
    if sqlstate == _MISSING_RIGHT:
        return AccessDeniedError(
            f"PostgreSQL refuses this user a right: {message}{where}. Let the owner of the tables "
            "run SELECT grant_revalue_roles(), and make the user a member of revalue_engine, or of "
            "revalue_reader if it only reads"
        )
    if sqlstate.startswith(_NO_ACCESS):
        return _no_access(message)
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


def _fault_of_data(sqlstate: str, message: str, names_table_only: bool) -> RevalueError:
    if sqlstate == _CHECK and names_table_only:
        return DatabaseSetupError(
            f"a partitioned table has no partition for a row: {message}. Somebody has dropped it. "
            "Restart the scheduler, which makes those that are missing"
        )
    return DataFaultError(f"PostgreSQL cannot work with a value or a stored row: {message}")


def _no_access(message: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"PostgreSQL refuses access: {message}. Check the address: user, password, database"
    )


def shared_sessions(message: str | None = None) -> DatabaseSetupError:
    """Return the error of an address behind which other clients use the same database sessions.

    Args:
        message: what showed it.
    """
    return DatabaseSetupError(
        "the database's address leads to a connection pooler that gives a database session to "
        "others between transactions (transaction pooling), and revalue needs its own: let the "
        "pooler keep sessions for this user or database (PgBouncer: pool_mode=session and its "
        "server_reset_query), or give the server's own address"
        f"{f' ({message})' if message else ''}"
    )


def no_encryption(error: OSError) -> DatabaseSetupError | None:
    """Return the error of a connection that cannot be encrypted as the address asks, if it is one.

    Certificates, their names and what both sides offer are the same at each attempt.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return DatabaseSetupError(
            "the certificate of the PostgreSQL server is not accepted: "
            f"{error.verify_message.rstrip('.')}. The address names the authorities "
            "(sslrootcert); sslmode=verify-full compares the certificate with the name of the "
            "host, too, and verify-ca does not"
        )
    if isinstance(error, ssl.SSLError) and not (
        isinstance(error, _CUT) or _DAMAGED in (error.reason or "")
    ):
        return DatabaseSetupError(
            f"no encrypted connection to PostgreSQL can be made: {error.reason or error}. Check "
            "the client's certificate and key (sslcert, sslkey, sslpassword), the authorities "
            "(sslrootcert, sslcrl), and which versions of TLS the server offers"
        )
    if _NOT_OFFERED in str(error):
        return DatabaseSetupError(
            "the PostgreSQL server offers no encryption, and the address requires it (sslmode): "
            f"set ssl = on there, or give sslmode=prefer ({error})"
        )
    return None


def error_of_libpq(message: str) -> RevalueError:
    """Return the error of a connection that libpq could not open, or has lost: it has no SQLSTATE.

    A key that others may read, for example, is refused by libpq only.
    """
    if _OF_ADDRESS.search(message):
        return UsageError(f"the database's address cannot be used: {message}")
    if any(said in message for said in _OF_CERTIFICATES):
        return DatabaseSetupError(f"no encrypted connection to PostgreSQL can be made: {message}")
    return unreachable(message)


def unreachable(message: str) -> DatabaseUnavailableError:
    """Return the error of a connection that cannot be opened or is lost."""
    return DatabaseUnavailableError(f"PostgreSQL cannot be reached: {message}")
