"""Raise the engine's errors instead of asyncpg's errors; driver_errors decides which."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from revalue.engine.errors import UsageError, WriteConflictError
from revalue.engine.postgres.driver_errors import engine_error, no_encryption, unreachable
from revalue.engine.postgres.statement import Connection, name_of


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the engine's errors instead of the driver's errors."""
    try:
        yield
    except asyncpg.InvalidCachedStatementError as error:
        # The driver forgets its plans at this error: the statement may succeed when it is repeated.
        raise WriteConflictError(f"the schema was changed under a statement: {error}") from error
    except asyncpg.PostgresError as error:
        message = error.args[0] + (f" ({error.detail})" if error.detail else "")
        raise engine_error(
            error.sqlstate,
            message,
            hint=error.hint,
            statement=name_of(getattr(error, "query", None)),
            names_table_only=error.table_name is not None and error.constraint_name is None,
        ) from error
    except asyncpg.ClientConfigurationError as error:
        raise UsageError(f"the database's address cannot be used: {error}") from error
    except (
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # the connection was cut in the middle of a statement
    ) as error:
        raise unreachable(str(error)) from error
    except OSError as error:
        if error.filename is not None:  # of a file, not of a connection
            raise
        if (refused := no_encryption(error)) is not None:
            raise refused from error
        raise unreachable(str(error) or type(error).__name__) from error


@contextmanager
def translated_misuse(connection: Connection) -> Iterator[None]:
    """Raise RuntimeError for a wrong use of the driver.

    The driver raises the same class of error for it as for a lost connection.
    """
    try:
        yield
    except asyncpg.InterfaceError as error:
        try:
            is_lost = connection.is_closed()
        except asyncpg.InterfaceError:  # so that the pool has taken it back
            is_lost = True
        if is_lost:
            raise
        raise RuntimeError(f"asyncpg was used in a way that it refuses: {error}") from error
