"""How many SQL statements the sessions of a database send, as the server counts them.

pg_stat_statements counts them, on a server that loads it. The embedded server has no such module:
there they are logged and the lines of the log are counted, which costs time. So that is done in a
run that is not measured.
"""

import re
from typing import Any

import asyncpg

_LOG = "log"  # in the data directory, where the embedded server is started
_LOGGED = re.compile(
    rb"^\d{4}-\d\d-\d\d [^\[\n]*\[\d+\] LOG:  (?:statement|execute [^:\n]*): ", re.M
)


class SentStatements:
    """Counts from `begin` to `end`; `prepare` comes before the sessions are opened."""

    def __init__(self) -> None:
        self._from = 0
        self._is_logged = False
        self._is_counted = False

    async def prepare(self, connection: Any, *, may_log: bool) -> None:
        """Find out how to count.

        Args:
            may_log: whether all statements of the database may be logged for it.
        """
        loaded = await connection.fetchval("SHOW shared_preload_libraries")
        if "pg_stat_statements" in loaded:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            self._is_counted = True
        elif may_log:
            self._is_logged = await _has_log(connection)
        if self._is_logged:
            database = await connection.fetchval("SELECT quote_ident(current_database())")
            for setting in ("log_statement = 'all'", "log_parameter_max_length = 0"):
                await connection.execute(f"ALTER DATABASE {database} SET {setting}")

    async def begin(self, connection: Any) -> None:
        self._from = await self._now(connection)

    async def end(self, connection: Any) -> int | None:
        """Return how many were sent since `begin`; None: they were not counted."""
        if self._is_counted:
            return await self._now(connection) - self._from
        if not self._is_logged:
            return None
        text: bytes = await connection.fetchval(
            "SELECT pg_read_binary_file($1, $2, $3)",
            _LOG,
            self._from,
            await self._now(connection) - self._from,
        )
        return len(_LOGGED.findall(text))

    async def _now(self, connection: Any) -> int:
        if self._is_counted:
            return int(
                await connection.fetchval(
                    """SELECT COALESCE(sum(calls), 0) FROM pg_stat_statements WHERE dbid = (
                           SELECT oid FROM pg_database WHERE datname = current_database())"""
                )
            )
        if self._is_logged:
            return int(await connection.fetchval("SELECT size FROM pg_stat_file($1)", _LOG))
        return 0


async def _has_log(connection: Any) -> bool:
    """Whether the server's log is where the embedded server has it, and can be read."""
    try:
        size = await connection.fetchval("SELECT size FROM pg_stat_file($1, true)", _LOG)
    except asyncpg.InsufficientPrivilegeError:
        return False
    return size is not None
