"""`revalue serve`: the application in uvicorn.

Other machines are served with a token only.
"""

import asyncio
import errno
import ipaddress
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from revalue.console.web.app import create_app
from revalue.console.web.connections import SPARE, Connections, HttpProtocol
from revalue.console.web.correlation_id import Correlation
from revalue.console.web.problems import problem
from revalue.console.web.security_headers import SecurityHeaders
from revalue.engine import logs
from revalue.engine.errors import UsageError
from revalue.engine.settings import Settings

_log = logs.logger("web")
_BACKLOG = 2048
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_OTHER_FILES = 256  # of this process: its database connections, its libraries


def application(url: str, settings: Settings, *, host: str, require_token: bool) -> FastAPI:
    """Create the application for an address to listen on.

    An address that other machines can reach requires tokens. With tokens any host name is allowed,
    because a page of another site has no token.
    """
    with_tokens = require_token or not is_loopback(host)
    names = ("*",) if with_tokens else ("localhost", "127.0.0.1", "[::1]")
    return create_app(url, settings=settings, hosts=names, require_token=with_tokens)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address.

    A name other than localhost may resolve to any address, so it is not loopback.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run_server(
    url: str,
    settings: Settings,
    *,
    host: str,
    port: int,
    require_token: bool,
    certificate: Path | None,
    key: Path | None,
    on_listening: Callable[[str], None],
) -> None:
    """Serve until a signal stops the process.

    Args:
        url: address of the database.
        settings: settings of the engine, for previews and for the estimated time.
        host: address to listen on.
        port: port to listen on.
        require_token: whether to require tokens on this machine's own addresses too.
        certificate: file of the TLS certificate, with `key`; None: no TLS.
        key: file of its private key.
        on_listening: called with the address, as a browser takes it, once it is listened on.

    Raises:
        UsageError: only one of `certificate` and `key` is given, a file does not exist, or the
            address cannot be listened on.
    """
    if (certificate is None) != (key is None):
        raise UsageError("TLS needs both --certificate and --key")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise UsageError(f"file {path} does not exist")
    app = application(url, settings, host=host, require_token=require_token)
    server = create_server(app, settings, listen(host, port), certificate=certificate, key=key)
    scheme = "http" if certificate is None else "https"
    on_listening(f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}")
    with suppress(KeyboardInterrupt):
        server.run()


def create_server(
    app: FastAPI,
    settings: Settings,
    listeners: list[socket.socket],
    *,
    certificate: Path | None = None,
    key: Path | None = None,
) -> "Server":
    """Create a server of the application that accepts connections from the listeners."""
    config = uvicorn.Config(
        app,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_level="error",  # anybody can cause its warnings
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        server_header=False,
        http=HttpProtocol,
        loop="asyncio",  # with uvloop installed, uvicorn would take that
        ws="none",
    )
    return Server(config, app, settings, listeners)


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address that the host name has.

    Raises:
        UsageError: an address cannot be used.
    """
    listeners: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            chosen = listeners[0].getsockname()[1] if listeners else port  # one, if it is 0
            try:
                listener = socket.create_server(
                    (address[0], chosen, *address[2:]), family=family, backlog=_BACKLOG
                )
            except OSError as error:
                # localhost may name an IPv6 address where there is no IPv6.
                if error.errno not in _NO_SUCH_ADDRESS or len(found) == 1:
                    raise
                continue
            listener.setblocking(False)
            listeners.append(listener)
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise UsageError(
            f"cannot listen on port {port} of {host}: {error.strerror}. "
            "Give another --port, or --host"
        ) from error
    if not listeners:
        raise UsageError(f"cannot listen on {host}: this machine has none of its addresses")
    return listeners


class Server(uvicorn.Server):
    """uvicorn, with connections that are counted and end in time (connections.py)."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        settings: Settings,
        listeners: list[socket.socket],
    ) -> None:
        super().__init__(config)
        self._app = app
        self._listeners = listeners
        self._accepting: list[asyncio.Task[None]] = []
        self.connections = Connections(
            most=settings.http_connections, idle_seconds=settings.http_idle_seconds
        )

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return int(self._listeners[0].getsockname()[1])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections."""
        _allow_open_files(self.connections.most + 2 * SPARE)
        await super().startup(sockets=[])
        self._accepting = [
            asyncio.create_task(self.connections.accept(each, self._protocol, tls=self.config.ssl))
            for each in self._listeners
        ]
        for task in self._accepting:
            task.add_done_callback(self._on_accepting_ended)

    async def on_tick(self, counter: int) -> bool:
        """End overdue connections, every second; uvicorn calls this ten times per second."""
        if counter % 10 == 0:
            self.connections.end_overdue()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and end."""
        for task in self._accepting:
            task.cancel()
        for listener in self._listeners:
            listener.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the event streams of the console at a signal; uvicorn would wait for them to end."""
        feed = getattr(self._app.state, "feed", None)
        if feed is not None:
            feed.end_streams()
        super().handle_exit(sig, frame)

    def _on_accepting_ended(self, task: asyncio.Task[None]) -> None:
        """End a server that nobody can reach any more."""
        if not task.cancelled():
            _log.error("connections are no longer accepted", exc_info=task.exception())
            self.should_exit = True

    def _protocol(self, has_room: bool) -> HttpProtocol:
        protocol = HttpProtocol(self.config, self.server_state, self.lifespan.state)
        if not has_room:
            protocol.app = _REFUSE
        return protocol


def _allow_open_files(wanted: int) -> None:
    """Raise the limit of this process's open files, if it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < most:
        highest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, highest), hard))


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem(503, "Service Unavailable", "too many connections are open; try again")
    response.headers.update({"Retry-After": "1", "Connection": "close"})
    await response(scope, receive, send)


_REFUSE = SecurityHeaders(Correlation(_refuse))
