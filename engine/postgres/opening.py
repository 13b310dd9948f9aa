"""Opening a database session over asyncpg: directly, or through a pooler that keeps sessions apart.

Parameters of a session are set by a statement: PgBouncer refuses to connect with most of them.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import asyncpg

from revalue.engine.postgres.driver_errors import shared_sessions
from revalue.engine.postgres.liveness import CONNECT_SECONDS, SERVER_SETTINGS, keep_alive
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_PROBES = 3
_CLOSE_SECONDS = 30


class Session(NamedTuple):
    """A database session; `began` tells it from a later one with the same pid."""

    pid: int
    began: datetime


async def connect(
    url: str, *, application: str = "revalue", seconds: float | None = None
) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a database session outside of a pool.

    Args:
        application: its application_name.
        seconds: longest time of a statement. None: no limit.

    Raises:
        DatabaseSetupError: a connection pooler gives sessions to others between transactions.
    """
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=seconds,
        server_settings={"application_name": application},
    )
    try:
        session = await begin_session(connection)
        await require_own_session(url, connection, session)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def begin_session(
    connection: "asyncpg.Connection[asyncpg.Record]", settings: Mapping[str, str] | None = None
) -> Session:
    """Prepare a new connection, with these parameters; return its database session."""
    await keep_alive(connection)
    given = {**SERVER_SETTINGS, **(settings or {})}
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            row = await connection.fetchrow(
                sql("begin_session").positional, list(given), list(given.values())
            )
    except TimeoutError as error:
        connection.terminate()
        raise TimeoutError(
            f"the first statement of a connection is not answered for {CONNECT_SECONDS} s: the "
            "server hangs, or a connection pooler has no session left (PgBouncer: "
            "default_pool_size)"
        ) from error
    assert row is not None
    return Session(row["pid"], row["backend_start"])


async def require_own_session(
    url: str, connection: "Connection | asyncpg.Connection[asyncpg.Record]", session: Session
) -> None:
    """Check that the connection has its database session for itself, as long as it lasts.

    A pooler that gives a session to others between transactions gives it to the transaction that is
    opened here, or gives another one to the connection.

    Raises:
        DatabaseSetupError: it has not.
    """
    if connection.get_server_pid() == session.pid:
        return  # the server itself has answered: a pooler gives its clients numbers of its own
    for _ in range(_PROBES):
        # Named statements are lost between the sessions of such a pooler.
        other = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
        async with asyncio.timeout(CONNECT_SECONDS), other.transaction():
            taken = await other.fetchval(sql("own_pid").text)
            now = await connection.fetchval(sql("own_pid").text)
        await other.close(timeout=_CLOSE_SECONDS)
        if taken == session.pid or now != session.pid:
            raise shared_sessions()
