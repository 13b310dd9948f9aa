"""`revalue serve`: the application in uvicorn.

Other machines are served with a token only.
"""

import ipaddress
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from revalue.console.web.app import create_app
from revalue.engine.errors import UsageError
from revalue.engine.settings import Settings


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

    Raises:
        UsageError: only one of `certificate` and `key` is given, or a file does not exist.
    """
    if (certificate is None) != (key is None):
        raise UsageError("TLS needs both --certificate and --key")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise UsageError(f"file {path} does not exist")
    app = application(url, settings, host=host, require_token=require_token)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_level="warning",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        limit_concurrency=64,
        server_header=False,
    )
    with suppress(KeyboardInterrupt):
        _Server(config, app).run()


class _Server(uvicorn.Server):
    """End the event streams of the console at a signal; uvicorn would wait for them to end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        feed = getattr(self._app.state, "feed", None)
        if feed is not None:
            feed.end_streams()
        super().handle_exit(sig, frame)
