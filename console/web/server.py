"""`revalue serve`: the application behind uvicorn. Beyond this machine nobody is served without a token."""

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
    """The application for an address to listen on. A page of another site has no token, so with tokens any name will do."""
    with_tokens = require_token or not is_loopback(host)
    names = ("*",) if with_tokens else ("localhost", "127.0.0.1", "[::1]")
    return create_app(url, settings=settings, hosts=names, require_token=with_tokens)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name other than localhost may be anything."""
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
    """Serves until it is stopped. Raises UsageError for one of certificate and key without the other."""
    if (certificate is None) != (key is None):
        raise UsageError("TLS needs both --certificate and --key")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise UsageError(f"there is no file {path}")
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
    """Told to stop, it ends the streams of the console, which would not end by themselves."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What the signal handler calls."""
        feed = getattr(self._app.state, "feed", None)
        if feed is not None:
            feed.end()
        super().handle_exit(sig, frame)
