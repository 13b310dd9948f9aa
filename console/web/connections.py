"""The open connections of `revalue serve`: no client can keep idle connections, or take all.

uvicorn limits neither how long a client may send nothing or read nothing, nor how many connections
one client may have; above its `limit_concurrency` it refuses everybody. So connections are accepted
here and handed to uvicorn's protocol. Accepted by asyncio, a TLS connection would be known only
after its handshake, and a client that begins none would not be counted.
"""

import asyncio
import errno
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from revalue.console.web.correlation_id import HEADER, new_correlation_id
from revalue.console.web.middleware import BYTES_PER_SECOND
from revalue.console.web.problems import problem
from revalue.console.web.security_headers import add_security_headers
from revalue.console.web.turns import client_of
from revalue.engine import logs

SPARE = 200
"""Connections above the maximum: they are accepted to be told that there are too many."""

_PAUSE_SECONDS = 0.1
_FRESH_SECONDS = 1.0
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logs.logger("web")


class HttpProtocol(H11Protocol):
    """uvicorn's protocol for one connection; it knows how long it has waited for its client.

    Attributes:
        idle_since: when it began to wait for a request.
        unread_since: since when there are bytes that the client has not read; None: it has read
            all.
        unread: how many there were at most since then.
        on_lost: called when the connection has ended.
    """

    unread_since: float | None = None
    unread = 0
    on_lost: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.idle_since = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress. Its last response may not have been read yet."""
        return self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection."""
        self.on_lost()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.idle_since = time.monotonic()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP with a problem document, like every other error."""
        if not self.is_idle:
            self.cycle.disconnected = True  # the request in progress cannot be answered any more
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        answer = problem(400, "Bad Request", msg)
        answer.headers[HEADER] = new_correlation_id()
        answer.headers["Connection"] = "close"
        add_security_headers(answer.headers, is_tls=self.scheme == "https")
        for event in (
            h11.Response(status_code=400, headers=answer.raw_headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


@dataclass(eq=False)
class _Connection:
    """An open connection.

    Attributes:
        client: whose it is.
        protocol: what speaks HTTP on it. It has a transport once the connection is open.
        opening: opens it, which takes a handshake with TLS.
    """

    client: str
    protocol: HttpProtocol
    opening: asyncio.Task[None] | None = None

    def cut(self) -> None:
        """End it at once."""
        if self.protocol.transport is not None:
            self.protocol.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def is_overdue(self, now: float, seconds: float) -> bool:
        """Whether its client has taken too long to send the head of a request, or to read."""
        protocol = self.protocol
        unread = 0 if protocol.transport is None else protocol.transport.get_write_buffer_size()
        if not unread:
            protocol.unread_since, protocol.unread = None, 0
            return protocol.is_idle and now - protocol.idle_since > seconds
        if protocol.unread_since is None:
            protocol.unread_since = now
        protocol.unread = max(protocol.unread, unread)
        return now - protocol.unread_since > seconds + protocol.unread / BYTES_PER_SECOND


class Connections:
    """The open connections of a server."""

    def __init__(self, *, most: int, idle_seconds: float) -> None:
        """Begin without connections.

        Args:
            most: how many there may be. A client that opens one more takes the place of one that
                does nothing, of the client that has the most.
            idle_seconds: how long a client may send no request, or read nothing of a response.
        """
        self.most, self._idle_seconds = most, idle_seconds
        self._open: set[_Connection] = set()
        self._no_room_until: dict[str, float] = {}

    def __len__(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def accept(
        self,
        listener: socket.socket,
        protocol: Callable[[bool], HttpProtocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        """Accept connections until the task is cancelled.

        Args:
            listener: the socket to listen on; it does not block.
            protocol: makes the protocol of a connection. If it is called with False, there are too
                many, and it answers so.
            tls: for TLS; None: without.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    _log.warning("a connection cannot be accepted", reason=str(error))
                    self._make_room("", time.monotonic())
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            client = client_of(str(address[0]))
            has_room = self._has_room(client)
            if not has_room and len(self._open) >= self.most + SPARE:
                accepted.close()
            else:
                connection = _Connection(client, protocol(has_room))
                self._open.add(connection)
                connection.opening = asyncio.create_task(self._serve(connection, accepted, tls))
            await asyncio.sleep(0)  # sock_accept does not let others run if a connection waits

    def end_overdue(self) -> None:
        """End the connections whose clients have taken too long. To be called every second."""
        now = time.monotonic()
        for connection in list(self._open):
            if connection.is_overdue(now, self._idle_seconds):
                connection.cut()

    def _has_room(self, client: str) -> bool:
        """Return whether one more connection of a client may be opened; make room for it."""
        if len(self._open) < self.most:
            return True
        now = time.monotonic()
        if now < self._no_room_until.get(client, 0):  # all of them were looked at just now
            return False
        if self._make_room(client, now):
            return True
        self._no_room_until = {each: end for each, end in self._no_room_until.items() if end > now}
        self._no_room_until[client] = now + _PAUSE_SECONDS
        return False

    def _make_room(self, client: str, now: float) -> bool:
        """End connections that do nothing, for a newcomer of a client.

        They are those that have done nothing for the longest, of the client that has the most, and
        of no client that has fewer than the newcomer's. Before one has done nothing for a second,
        it ends only for a client that has fewer even then: what is opened at the same moment does
        not end each other. Several end at once, since it takes a while to look at all of them; of
        another client no more than half of what it has more.

        Returns:
            Whether there was one.
        """
        held = Counter(each.client for each in self._open)

        def may_end(each: _Connection) -> bool:
            is_fresh = now - each.protocol.idle_since < _FRESH_SECONDS
            return each.protocol.is_idle and held[each.client] >= held[client] + 2 * is_fresh

        victims = sorted(
            filter(may_end, self._open),
            key=lambda each: (-held[each.client], each.client, each.protocol.idle_since),
        )
        if not victims:
            return False
        whose = victims[0].client
        number = 1 + self.most // 20
        if whose != client:
            number = min(number, max(1, (held[whose] - held[client]) // 2))
        for victim in victims[:number]:
            if victim.client == whose:
                self._open.discard(victim)
                victim.cut()
        return True

    async def _serve(
        self, connection: _Connection, accepted: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        protocol = connection.protocol
        protocol.on_lost = lambda: self._open.discard(connection)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=tls)
        except (OSError, ssl.SSLError):  # of the handshake
            protocol.on_lost()
        except asyncio.CancelledError:
            protocol.on_lost()
            raise
