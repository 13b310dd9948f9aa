"""How a peer that has vanished without a word is noticed: a lost host, a firewall that forgot us.

TCP notices it on both sides within a minute (keepalives). A peer that answers TCP but nothing else,
such as a proxy that hangs, is noticed by the time limits of Database and ArrowReader.
"""

import asyncio
import socket

import asyncpg

CONNECT_SECONDS = 30

_IDLE_SECONDS, _INTERVAL_SECONDS, _PROBES = 20, 10, 4
_UNACKNOWLEDGED_MILLISECONDS = 60_000
_SOCKET_OPTIONS = {
    "TCP_KEEPIDLE": _IDLE_SECONDS,
    "TCP_KEEPINTVL": _INTERVAL_SECONDS,
    "TCP_KEEPCNT": _PROBES,
    "TCP_USER_TIMEOUT": _UNACKNOWLEDGED_MILLISECONDS,
}
LIBPQ_PARAMETERS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": _IDLE_SECONDS,
    "keepalives_interval": _INTERVAL_SECONDS,
    "keepalives_count": _PROBES,
    "tcp_user_timeout": _UNACKNOWLEDGED_MILLISECONDS,
}
"""Parameters of an address of libpq by which this side notices it."""

SERVER_SETTINGS = {
    "tcp_keepalives_idle": str(_IDLE_SECONDS),
    "tcp_keepalives_interval": str(_INTERVAL_SECONDS),
    "tcp_keepalives_count": str(_PROBES),
    "tcp_user_timeout": str(_UNACKNOWLEDGED_MILLISECONDS),
    # In the middle of a statement too: otherwise it is finished, and holds its locks until then.
    "client_connection_check_interval": str(_INTERVAL_SECONDS * 1000),
}
"""Settings of a database session by which the server notices that its client has vanished."""


async def keep_alive(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Let TCP notice on this side that the server has vanished; asyncpg has no option for it."""
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]
    found = transport.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_OPTIONS.items():
        if hasattr(socket, name):  # macOS has other names for some
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
