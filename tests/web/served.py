"""`revalue serve` in a thread of the test, and a client that sends bytes as they are."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revalue.console.web.server import Server, application, create_server, listen
from revalue.engine.settings import Settings


@contextmanager
def served(
    url: str,
    settings: Settings,
    *,
    require_token: bool = False,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[Server]:
    """Serve on a free port of 127.0.0.1."""
    app = application(url, settings, host="127.0.0.1", require_token=require_token)
    server = create_server(app, settings, listen("127.0.0.1", 0), certificate=certificate, key=key)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < end
            time.sleep(0.01)
        yield server
    finally:
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


def connect(server: Server, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection from an address of this machine; all of 127.0.0.0/8 are."""
    return socket.create_connection(
        ("127.0.0.1", server.port), timeout=30, source_address=(source, 0)
    )


def exchange(server: Server, request: str | bytes, source: str = "127.0.0.1") -> bytes:
    """Send bytes, and return all that comes until the server ends the connection."""
    with connect(server, source) as opened:
        opened.sendall(request if isinstance(request, bytes) else request.encode())
        return read_all(opened)


def get(path: str, *headers: str, method: str = "GET") -> str:
    """The head of a request after which the server ends the connection."""
    lines = (f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, ""))


def read_all(opened: socket.socket) -> bytes:
    """Return what comes until the connection ends, in whatever way."""
    received = b""
    try:
        while part := opened.recv(65536):
            received += part
    except ConnectionError:
        pass
    return received


def status_of(answer: bytes) -> int:
    """The status of a response."""
    return int(answer.split(b" ", 2)[1])
