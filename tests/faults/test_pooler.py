"""The engine behind PgBouncer: whole in session pooling, refused in one sentence in all others."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest
from typer.testing import CliRunner

import revalue
from revalue.console.cli.main import app as cli
from revalue.console.web.app import create_app
from revalue.engine.errors import (
    AccessDeniedError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    RevalueError,
)
from revalue.engine.leadership.blocking import blockers_met_by
from revalue.engine.leadership.term import Term
from revalue.engine.postgres import opening
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement
from tests.conftest import named
from tests.debian import unpacked, with_libraries
from tests.faults.checks import assert_all_correct
from tests.support import DAYS, execute, fetch, load_small_book

Start = Callable[..., str]


@pytest.fixture(scope="module")
def pgbouncer() -> Iterator[tuple[Path, dict[str, str]]]:
    """The program, of this machine or of Debian's packages, and its environment."""
    if found := shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"):
        yield Path(found), dict(os.environ)
        return
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # it is run as another user than root
        folder = unpacked(Path(name), "pgbouncer", "libc-ares2")
        yield folder / "usr/sbin/pgbouncer", with_libraries(folder)


@contextmanager
def bouncing(
    pgbouncer: tuple[Path, dict[str, str]],
    server_url: str,
    pool_mode: str,
    server_port: int,
    **settings: str,
) -> Iterator[str]:
    """Run a PgBouncer in front of the server; give its address of the database `postgres`."""
    program, environment = pgbouncer
    (server,) = parse_qs(urlsplit(server_url).query)["host"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = {
            "pool_mode": pool_mode,
            "auth_type": "trust",
            "unix_socket_dir": name,
            "auth_file": f"{name}/users.txt",
            "default_pool_size": "60",
            "server_login_retry": "0.1",
            **settings,
        }
        lines = [f"{key} = {value}" for key, value in given.items()]
        (folder / "pgbouncer.ini").write_text(
            "\n".join(
                ["[databases]", f"* = host={server} port={server_port}", "[pgbouncer]", *lines]
            )
        )
        (folder / "users.txt").write_text('"postgres" "secret"\n')
        owner = {}
        if os.geteuid() == 0:  # as which it does not run
            owner = {"user": (Path(server) / ".s.PGSQL.5432").stat().st_uid}
            os.chown(folder, owner["user"], -1)
        process = subprocess.Popen(
            [program, f"{name}/pgbouncer.ini"], env=environment, stderr=subprocess.DEVNULL, **owner
        )
        try:
            end = time.monotonic() + 30
            while not (folder / ".s.PGSQL.6432").exists():
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.01)
            yield f"postgresql://postgres:@/postgres?host={name}&port=6432"
        finally:
            process.kill()  # newer ones wait for their clients at other signals
            process.wait(30)


@pytest.fixture(scope="module")
def start(pgbouncer: tuple[Path, dict[str, str]], server_url: str) -> Iterator[Start]:
    """Start a PgBouncer, or take the one that runs with these settings; return its address."""
    running: dict[str, str] = {}
    with ExitStack() as stack:

        def started(pool_mode: str = "session", server_port: int = 5432, **settings: str) -> str:
            key = json.dumps([pool_mode, server_port, settings], sort_keys=True)
            if key not in running:
                running[key] = stack.enter_context(
                    bouncing(pgbouncer, server_url, pool_mode, server_port, **settings)
                )
            return running[key]

        yield started


def through(bouncer: str, url: str) -> str:
    """The address, through a PgBouncer, of the database of an address."""
    return named(bouncer, urlsplit(url).path.strip("/"))


@pytest.fixture
def pooled(start: Start, url: str) -> str:
    """The address of an empty book, in session pooling."""
    return through(start(), url)


def run(url: str, *arguments: str) -> str:
    """Run a command in this process, on a thread of its own; return its standard output."""
    with ThreadPoolExecutor(1) as thread:
        call = ["--database-url", url, *arguments]
        result = thread.submit(CliRunner().invoke, cli, call).result()
    if result.exception is not None:
        raise result.exception
    return result.stdout


async def test_a_book_is_loaded_valued_corrected_and_served_in_session_pooling(
    pooled: str, database: Database
) -> None:
    async with await Database.open(pooled) as opened:
        await load_small_book(opened, portfolios=2)
        for name, value in {
            "jit": "off",
            "plan_cache_mode": "force_custom_plan",
            "client_connection_check_interval": "10s",
        }.items():
            for _ in range(2):  # it has been given back to the pool meanwhile
                assert await fetch(opened, f"SHOW {name}") == [(value,)]
    with revalue.connect(pooled, runtime="local") as book:
        assert book.value().rows_written == 4 * len(DAYS)
        assert json.loads(run(pooled, "status", "--json"))["is_current"]
        told = book.preview(revalue.Rate("EUR", "USD", DAYS[2], Decimal("1.3")))
        run(pooled, "correct", "fx", "EUR", "USD", DAYS[2].isoformat(), "1.3")
        assert book.value().status.is_current
    app = create_app(pooled, require_token=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1"
        ) as client,
    ):
        answer = await client.get("/portfolios/P2/positions", params={"as_of": str(DAYS[2])})
        assert answer.status_code == 200, answer.text
    assert told.portfolios[0].market_value_after is not None
    await assert_all_correct(database)


async def test_sessions_are_found_and_ended_in_session_pooling(
    pooled: str, database: Database
) -> None:
    """The pid that the pooler tells the driver is none of the server's."""
    async with await Database.open(
        pooled, application=application_name("scheduler", "a"), connections=2
    ) as first:
        term = await Term.acquire(first, "a", lease_seconds=60)
        heard = asyncio.Event()
        async with first.listening("revalue_wake", heard.set):
            await execute(database, "NOTIFY revalue_wake")
            await asyncio.wait_for(heard.wait(), 30)

        async def work() -> None:
            async with term.transaction("test") as connection:
                async with await Database.open(pooled) as second:
                    await Term.acquire(second, "b", lease_seconds=60, take_over=True)
                await connection.fetchval("SELECT 1")

        with pytest.raises(DatabaseUnavailableError, match="closed"):
            await work()
    await load_small_book(database, portfolios=1)
    lock = "SELECT FROM market_prices WHERE security_id = 'A' FOR UPDATE"
    async with await Database.open(pooled) as opened, database.transaction() as holding:
        await holding.fetch(lock)
        (met,) = await blockers_met_by(opened, lambda connection: connection.fetch(lock))
        assert met.pid == holding.get_server_pid()


COMMANDS = ("migrate", "status", "value --quiet", "serve --port 0", "sample", "drain")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("pool_mode", ["transaction", "statement"])
async def test_pooling_that_shares_sessions_is_refused_in_one_sentence(
    start: Start, url: str, pool_mode: str, command: str
) -> None:
    address = through(start(pool_mode), url)
    with pytest.raises(DatabaseSetupError, match="pool_mode=session") as refused:
        run(address, *command.split())
    assert refused.value.exit_code == 78
    assert "\n" not in str(refused.value)


async def test_pooling_that_shares_sessions_is_found_while_others_use_them(
    start: Start, url: str
) -> None:
    address = through(start("transaction"), url)
    stop = asyncio.Event()

    async def work() -> None:
        connection = await asyncpg.connect(address, statement_cache_size=0)
        while not stop.is_set():
            async with connection.transaction():
                await connection.fetchval("SELECT pg_sleep(0.001)")
        await connection.close()

    others = [asyncio.create_task(work()) for _ in range(8)]
    for _ in range(20):
        with pytest.raises(DatabaseSetupError, match="pool_mode=session"):
            await Database.open(address)
    stop.set()
    await asyncio.gather(*others)


REFUSED: dict[str, tuple[type[RevalueError], int, str]] = {
    "a parameter": (DatabaseSetupError, 78, "startup parameter"),
    "another user": (AccessDeniedError, 77, "user"),
    "a wrong password": (AccessDeniedError, 77, "password"),
    "no such database": (AccessDeniedError, 77, "missing"),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_what_is_refused_at_connecting_ends_every_command_at_once(
    start: Start, url: str, why: str
) -> None:
    """Whatever the pooler says, under whatever SQLSTATE: both drivers, and all commands."""
    kind, code, part = REFUSED[why]
    address = through(start(auth_type="md5") if why == "a wrong password" else start(), url)
    address = {
        "a parameter": f"{address}&options=-csearch_path%3Dbook",
        "another user": address.replace("//postgres:", "//nobody:"),
        "a wrong password": address.replace("//postgres:", "//postgres:wrong"),
        "no such database": named(start(), "missing"),
    }[why]
    reader = ArrowReader(address)
    with pytest.raises(kind, match=part) as read, reader.snapshot():
        pass
    with pytest.raises(kind, match=part) as opened:
        await Database.open(address)
    assert str(read.value) == str(opened.value)
    for command in COMMANDS:
        with pytest.raises(kind, match=part) as ended:
            run(address, *command.split())
        assert ended.value.exit_code == code


async def test_a_pooler_without_a_free_session_is_waited_for_with_an_end(
    start: Start, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PgBouncer tells it as a broken protocol, after query_wait_timeout or never."""
    address = through(start(default_pool_size="1", query_wait_timeout="0.2"), url)
    holding = await asyncpg.connect(address)
    await holding.fetchval("SELECT 1")
    with pytest.raises(DatabaseUnavailableError, match="query_wait_timeout"):
        await Database.open(address)
    await holding.close()
    monkeypatch.setattr(opening, "CONNECT_SECONDS", 0.2)
    address = through(start(default_pool_size="2"), url)
    held = [await asyncpg.connect(address) for _ in range(2)]
    for connection in held:  # the second time, there is none for the look at the pooler
        await connection.fetchval("SELECT 1")
    for connection in held:
        with pytest.raises(DatabaseUnavailableError, match="default_pool_size"):
            await Database.open(address)
        await connection.close()


async def test_a_server_that_is_away_behind_the_pooler_is_waited_for(start: Start) -> None:
    """PgBouncer tells this as a broken protocol too."""
    away = start(server_port=5433, query_wait_timeout="0.2")
    with pytest.raises(DatabaseUnavailableError) as opened:
        await Database.open(away)
    reader = ArrowReader(away)
    with pytest.raises(DatabaseUnavailableError) as read, reader.snapshot():
        pass
    assert opened.value.exit_code == read.value.exit_code == 75


async def test_names_that_the_server_quotes_are_told_behind_a_pooler(
    pooled: str, url: str, database: Database
) -> None:
    name = urlsplit(url).path.strip("/")
    await execute(database, f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    reader = ArrowReader(pooled)
    with (
        pytest.raises(DatabaseSetupError, match="quote_all_identifiers = off"),
        reader.snapshot() as snapshot,
    ):
        snapshot.read(Statement.parse("SELECT 1"))
