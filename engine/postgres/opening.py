"""Opening a database session over asyncpg: directly, or through a pooler that keeps sessions apart.

Parameters of a session are set by a statement: PgBouncer refuses to connect with most of them.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

import asyncpg

from revalue.engine.errors import UsageError
from revalue.engine.postgres.address import asyncpg_address
from revalue.engine.postgres.driver_errors import shared_sessions
from revalue.engine.postgres.liveness import CONNECT_SECONDS, SERVER_SETTINGS, keep_alive
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

# A pooler resets a session within milliseconds after its client has gone.
_RESET_SECONDS = 5
_RELEASES = 20
_REFUSED_SETTING = (
    "22",  # a value of a setting
    "42601",  # options that are none
    "42704",  # a setting that there is not
    "55P02",  # a setting that cannot be changed
)
"""No statement of the engine has run yet when a connection is refused with one of these."""


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
    connection = await connected(
        asyncpg_address(url),
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


async def connected(*arguments: Any, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect as `asyncpg.connect` does.

    Raises:
        UsageError: the server refuses what the address sets.
    """
    try:
        return await asyncpg.connect(*arguments, **options)
    except asyncpg.PostgresError as error:
        if error.sqlstate.startswith(_REFUSED_SETTING):
            raise UsageError(
                "the database's address sets something that the server refuses, see its options: "
                f"{error.args[0]}"
            ) from error
        raise


async def begin_session(
    connection: "asyncpg.Connection[asyncpg.Record]", settings: Mapping[str, str] | None = None
) -> Session:
    """Prepare a new connection, with these parameters; return its database session."""
    await keep_alive(connection)
    given = {**SERVER_SETTINGS, **(settings or {})}
    async with _given_in_time(connection):
        row = await connection.fetchrow(
            sql("begin_session").positional, list(given), list(given.values())
        )
    assert row is not None
    return Session(row["pid"], row["backend_start"])


@asynccontextmanager
async def _given_in_time(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> AsyncIterator[None]:
    """Close the connection if its first statements are not answered in time."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            yield
    except TimeoutError as error:
        connection.terminate()
        raise TimeoutError(
            f"the first statement of a connection is not answered for {CONNECT_SECONDS} s: the "
            "server hangs, or a connection pooler has no session left (PgBouncer: "
            "default_pool_size)"
        ) from error


async def require_own_session(
    url: str, connection: "Connection | asyncpg.Connection[asyncpg.Record]", session: Session
) -> None:
    """Check that a connection has a database session for itself, as long as it lasts.

    What a connection leaves in its session is gone after it, if the session was its own: the server
    ends it, or the pooler resets it. A pooler that gives a session to others between transactions
    leaves it there, for the next one that gets the session, or removes it at once.

    Raises:
        DatabaseSetupError: it has not.
    """
    if connection.get_server_pid() == session.pid:
        return  # the server itself has answered: a pooler gives its clients numbers of its own
    lock = secrets.randbits(62)
    # Named statements are lost between the sessions of such a pooler.
    other = await connected(asyncpg_address(url), timeout=CONNECT_SECONDS, statement_cache_size=0)
    try:
        async with _given_in_time(other):
            await other.fetchval(sql("take_probe").positional, lock)
            is_shared = await _is_own(connection, lock) is not False
            await other.close()
            if not is_shared and await _is_released(connection, lock):
                return
    finally:
        other.terminate()
    await _release(url, lock)
    raise shared_sessions()


async def _is_own(
    connection: "Connection | asyncpg.Connection[asyncpg.Record]", lock: int
) -> bool | None:
    """Return whether this connection's session holds the lock; None: no session does."""
    found: bool | None = await connection.fetchval(sql("probe_holder").positional, lock)
    return found


async def _is_released(
    connection: "Connection | asyncpg.Connection[asyncpg.Record]", lock: int
) -> bool:
    """Wait until no session holds the lock; return False if it is held for long, or by this one."""
    end = monotonic() + _RESET_SECONDS
    while (is_own := await _is_own(connection, lock)) is not None:
        if is_own or monotonic() > end:
            return False
        await asyncio.sleep(0.01)
    return True


async def _release(url: str, lock: int) -> None:
    """Release the lock in whichever session it is, if it is found: it ends with that session."""
    with suppress(asyncpg.PostgresError, OSError):
        other = await connected(
            asyncpg_address(url), timeout=CONNECT_SECONDS, statement_cache_size=0
        )
        for _ in range(_RELEASES):
            if await other.fetchval(sql("release_probe").positional, lock):
                break
        await other.close(timeout=CONNECT_SECONDS)
