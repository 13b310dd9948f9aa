"""Connections that go silent: the server's host is lost, or a proxy forwards nothing any more.

No packet says that they have ended. New connections work.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from revalue.engine.errors import DatabaseUnavailableError
from revalue.engine.leadership import term
from revalue.engine.operate.status import read_status
from revalue.engine.postgres import database as database_module
from revalue.engine.postgres import witness
from revalue.engine.postgres.address import libpq_address
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.liveness import keep_alive
from revalue.engine.postgres.statement import Statement
from revalue.engine.read.queries import open_limited
from revalue.engine.value import commit, valuer
from tests.faults.checks import assert_all_correct
from tests.faults.proxy import Proxy
from tests.support import (
    SETTINGS,
    engine,
    execute,
    fetch,
    is_current,
    load_small_book,
    until,
    until_current,
)

CORRECTION = "UPDATE market_prices SET price = price + 1"
IMPATIENT = SETTINGS.model_copy(
    update={"lease_seconds": 1.0, "step_seconds": 2.0, "task_deadline_seconds": 2.0}
)


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    made = Proxy(url)
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("when", ["idle", "at work"])
async def test_the_engine_notices_silent_connections_and_opens_others(
    url: str, database: Database, proxy: Proxy, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    await load_small_book(database, portfolios=6)
    settings = IMPATIENT.model_copy(update={"task_rows": 20})
    told: set[str] = set()
    async with engine(proxy.url, settings=settings) as running:
        work = asyncio.create_task(running.loop.run())
        await until_current(running, database, work, seconds=15)
        with caplog.at_level("WARNING", logger="revalue"):
            if when == "idle":
                silent = proxy.silence()
            await execute(database, CORRECTION)
            if when == "at work":
                await until(lambda: bool(running.loop._attempts.tasks()), pause=0)
                silent = proxy.silence()
            end = time.monotonic() + 15
            while not (await read_status(database)).is_current:
                assert time.monotonic() < end, running.loop.progress
                told.add(running.loop.progress.trouble or "")
                await asyncio.sleep(0.02)
        assert proxy.connections > silent
        assert any("it has not answered for" in trouble for trouble in told), told
        running.loop.stop()
        await asyncio.wait_for(work, 15)
    # Each lost connection may be met by itself, and is told once, however often it is tried again.
    assert len(caplog.records) <= silent, [record.getMessage() for record in caplog.records]
    await assert_all_correct(database)


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(witness, "SILENT_SECONDS", 0.5)


@pytest.mark.usefixtures("looks_often")
@pytest.mark.parametrize("step", ["fan_out.begun", "value.begun", "value.marked", "apply.written"])
async def test_an_answer_that_is_lost_inside_a_step_is_noticed_before_its_time_limit(
    url: str, database: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A step may take half an hour and a task ten minutes. What they have locked is released."""
    await load_small_book(database, portfolios=6)
    silent = asyncio.Event()

    def silence(reached: str) -> None:
        if reached == step and not silent.is_set():
            silent.set()
            proxy.silence()

    async with engine(proxy.url) as running:
        work = asyncio.create_task(running.loop.run())
        await until_current(running, database, work, seconds=15)
        for module in (term, valuer, commit):
            monkeypatch.setattr(module, "fault_point", silence)
        await execute(database, CORRECTION)
        await asyncio.wait_for(silent.wait(), 15)
        await until(lambda: is_current(database), seconds=15, work=work)
        running.loop.stop()
        await asyncio.wait_for(work, 15)
    await assert_all_correct(database)


@pytest.mark.usefixtures("looks_often")
async def test_a_server_or_a_client_that_is_slow_is_not_cut(url: str, database: Database) -> None:
    def read_slowly(reader: ArrowReader) -> int:
        with reader.snapshot() as snapshot:
            query = Statement.parse("SELECT 1::integer AS one FROM pg_sleep(1.5)")
            time.sleep(1.5)
            return int(snapshot.read(query)["one"][0])

    async with await Database.open(url) as opened, opened.transaction() as connection:
        await connection.execute("SELECT pg_sleep(1.5)")
        await connection.execute("LOCK TABLE calendars")
        await asyncio.sleep(1.5)
        async with opened.connection() as waiting:
            locked = asyncio.create_task(waiting.fetch("SELECT FROM calendars"))
            await asyncio.sleep(1.5)
            assert not locked.done()
            await connection.execute("ROLLBACK")
            await locked
            await connection.execute("BEGIN")
    reader = ArrowReader(url)
    assert await reader.run(read_slowly) == 1
    reader.close()


async def test_a_silent_listener_is_replaced(
    url: str, database: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every correction waits for the poll, from then on."""
    monkeypatch.setattr(database_module, "_CHECK_SECONDS", 0.2)
    async with await Database.open(proxy.url) as opened:
        heard = asyncio.Event()
        async with opened.listening("revalue_wake", heard.set) as lost:
            await execute(database, "NOTIFY revalue_wake")
            await asyncio.wait_for(heard.wait(), 10)
            proxy.silence()
            await asyncio.wait_for(lost.wait(), 10)


async def test_a_use_of_a_connection_has_an_end(proxy: Proxy) -> None:
    async with await Database.open(proxy.url, answer_seconds=30) as database:
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        proxy.silence()
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match=r"not answered for 0\.3 s"):
            async with database.transaction(seconds=0.3):
                pass
        assert await fetch(database, "SELECT 1") == [(1,)], "it is not given out again"
        assert time.monotonic() - begun < 5


async def test_a_read_has_an_end_and_the_reader_goes_on(proxy: Proxy) -> None:
    reader = ArrowReader(proxy.url, answer_seconds=2.0)

    def read(reader: ArrowReader) -> int:
        with reader.snapshot() as snapshot:
            return int(snapshot.read(Statement.parse("SELECT 1::integer AS one"))["one"][0])

    assert await reader.run(read) == 1
    connected = proxy.connections
    assert await reader.run(read) == 1
    assert proxy.connections == connected, "the connection stays open"
    proxy.silence()
    with pytest.raises(DatabaseUnavailableError, match=r"not answered for 2 s"):
        await reader.run(read)
    assert await reader.run(read) == 1
    reader.close()


async def test_both_sides_of_a_connection_have_keepalives(url: str, proxy: Proxy) -> None:
    """A host that is lost is noticed by TCP, within a minute."""
    connection = await asyncpg.connect(proxy.url)
    await keep_alive(connection)
    found = connection._transport.get_extra_info("socket")
    options = {
        name: found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    }
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert options == {
        "TCP_KEEPIDLE": 20,
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": 60_000,
    }
    await connection.close()
    async with await Database.open(url) as database:
        shown = await fetch(database, "SHOW client_connection_check_interval")
    assert shown == [("10s",)]


async def test_options_of_the_address_hold_for_every_connection(url: str) -> None:
    """A search_path that one of them ignored would make it read another book."""
    address = f"{url}&options=-c%20search_path%3Dbook%2Cpublic"
    query = Statement.parse("SELECT setting FROM pg_settings WHERE name = 'search_path'")

    def read(reader: ArrowReader) -> str:
        with reader.snapshot() as snapshot:
            return str(snapshot.read(query)["setting"][0])

    reader = ArrowReader(address)
    assert await reader.run(read) == "book,public"
    reader.close()
    async with await open_limited(
        address, timeout_seconds=7, connections=1, application="test"
    ) as limited:
        assert await fetch(limited, query.text) == [("book,public",)]
        assert await fetch(limited, "SHOW statement_timeout") == [("7s",)]


def test_an_address_keeps_what_it_says_itself() -> None:
    own = "postgresql://u@h:1/d?options=-csearch_path%3Dbook&tcp_user_timeout=5"
    address = libpq_address(own, ["-c jit=off"])
    base, _, query = address.partition("?")
    assert base == "postgresql://u@h:1/d"
    assert query.split("&") == [
        "tcp_user_timeout=5",
        "connect_timeout=30",
        "keepalives_idle=20",
        "keepalives_interval=10",
        "keepalives_count=4",
        "options=-csearch_path%3Dbook%20-c%20jit%3Doff",
    ]
    assert libpq_address("postgresql://h/d", []).startswith("postgresql://h/d?connect_timeout=30&")
