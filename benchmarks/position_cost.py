"""What a corrected position costs PostgreSQL, step by step, and with other rows of position_state.

The engine's own steps run one after the other, so that each one's share is known. The first
correction after a checkpoint logs each page that it changes as a whole; the second one does not.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psutil

from revalue.benchmarks.dataset import make_book
from revalue.engine.apply import apply
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.fan_out import fan_out
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database
from revalue.engine.stage import stage
from revalue.engine.stage.scan import PAGE_POSITIONS, scan_page
from revalue.engine.value.valuer import Valuer, ValuerOptions

POSITIONS = 100_000
DATES = 10
_TASK_ROWS = 50_000
_PAGE = PAGE_POSITIONS

_CORRECT = """
    UPDATE market_prices SET price = price + 1
    WHERE security_id = 'S000001' AND price_date = (SELECT max(price_date) FROM market_prices)
"""

_CHANGING = (
    "trigger_id",
    "stale_moment",
    "invalidated_moment",
    "epoch",
    "staged_epoch",
    "revision",
    "published_epoch",
    "pending",
)
"""The columns of position_state that a correction changes."""

VARIANTS = {
    "as it is": (),
    "columns that change in front": _CHANGING,
    "columns that change in a table of their own": _CHANGING,
}
_INVALIDATE = """
    UPDATE {table} p
    SET epoch = p.epoch + 1, revision = p.revision + 1, staged_epoch = p.epoch + 1,
        trigger_id = 1000 + p.epoch, stale_moment = 1000 + p.epoch,
        invalidated_moment = 1001 + p.epoch, pending = k.dates
    FROM proposed k
    WHERE p.position_id = k.position_id AND p.position_id BETWEEN $1 AND $2
"""
_APPLY = """
    UPDATE {table} p SET published_epoch = p.epoch, pending = '{{}}'
    FROM proposed k
    WHERE p.position_id = k.position_id AND p.position_id BETWEEN $1 AND $2
"""


async def measure(database: Database, positions: int, dates: int) -> dict[str, Any]:
    """Return what a corrected position costs.

    Returns:
        positions; steps: per correction (after a checkpoint, and the next one) and step its
        PostgreSQL CPU in microseconds and its WAL in bytes, both per position; variants: the same
        of the two updates of a position alone, by the table that they are made in, after a
        checkpoint and later.
    """
    await make_book(database, positions=positions, dates=dates, holders=positions)
    async with _Server.of(database, positions) as server:
        steps = await _steps(database, server)
        variants = [await _variant(server, name) for name in VARIANTS]
    return {"positions": positions, "steps": steps, "variants": variants}


class _Server:
    """The PostgreSQL server: the CPU time of all of its processes, and its log."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", positions: int) -> None:
        self.connection = connection
        self.positions = positions
        backend = connection.get_server_pid()
        self._root = psutil.Process(psutil.Process(backend).ppid())

    @classmethod
    @asynccontextmanager
    async def of(cls, database: Database, positions: int) -> "AsyncIterator[_Server]":
        """Connect to it; it runs on this machine."""
        connection = await asyncpg.connect(database.url)
        try:
            yield cls(connection, positions)
        finally:
            await connection.close()

    async def spent(self) -> tuple[float, int]:
        """Return seconds of CPU and bytes of WAL so far."""
        times = [self._root.cpu_times()]
        times += [process.cpu_times() for process in self._root.children() if process.is_running()]
        seconds = sum(each.user + each.system for each in times)
        seconds += times[0].children_user + times[0].children_system
        position = await self.connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'")
        return seconds, int(position)

    async def since(self, before: tuple[float, int]) -> dict[str, float]:
        """Return what was spent since then, per position."""
        seconds, position = await self.spent()
        return {
            "cpu_us": round((seconds - before[0]) / self.positions * 1e6, 1),
            "wal_bytes": round((position - before[1]) / self.positions),
        }


async def _steps(database: Database, server: _Server) -> list[dict[str, Any]]:
    term = await Term.acquire(database, "position cost", lease_seconds=600)
    reader, valuer = (
        ArrowReader(database.url),
        await Valuer.open(database.url, ValuerOptions(max_attempts=1)),
    )
    try:
        await _value_all(term, reader, valuer)
        await server.connection.execute("CHECKPOINT")
        found: list[dict[str, Any]] = []
        for correction in ("after a checkpoint", "the next one"):
            await server.connection.execute(_CORRECT)

            async def step(name: str, before: tuple[float, int], of: str = correction) -> None:
                found.append({"correction": of, "step": name, **await server.since(before)})

            before = await server.spent()
            tasks = await _fan_out(term, reader)
            await step("fan out", before)
            before = await server.spent()
            for task in tasks:
                await valuer.run(task)
            await step("value", before)
            before = await server.spent()
            for task in tasks:
                await apply.apply(term, [task], retry_seconds=2)
            await step("apply", before)
        return found
    finally:
        reader.close()
        await valuer.close()


async def _value_all(term: Term, reader: ArrowReader, valuer: Valuer) -> None:
    while await fan_out.fan_out(term):
        pass
    cursor: int | None = 0
    while cursor is not None:
        page = scan_page(reader, Lane.HISTORY, cursor, page_positions=_PAGE, live_business_days=5)
        cursor = page.next_cursor
        staged = await stage.stage(
            term, page, Lane.HISTORY, task_rows=_TASK_ROWS, capacity_rows=2**31
        )
        for task in staged.tasks:
            await valuer.run(task)
            await apply.apply(term, [task], retry_seconds=2)


async def _fan_out(term: Term, reader: ArrowReader) -> list[Task]:
    tasks: list[Task] = []
    capacity = fan_out.Capacity(reader, 2**31, _TASK_ROWS)
    while page := await fan_out.fan_out(term, max_positions=_PAGE, capacity=capacity):
        tasks += page.tasks
    return tasks


async def _variant(server: _Server, name: str) -> dict[str, Any]:
    """Update each position of another table twice, as fan-out and apply do, page by page."""
    connection = server.connection
    await connection.execute(f"CREATE TABLE variant ({await _columns(connection, name)})")
    stored = [
        row["attname"]
        for row in await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'variant'::regclass "
            "AND attnum > 0 AND attgenerated = ''"
        )
    ]
    names = ", ".join(stored)
    await connection.execute("ALTER TABLE variant SET (fillfactor = 45)")
    await connection.execute(
        f"INSERT INTO variant ({names}) SELECT {names} FROM position_state ORDER BY position_id"
    )
    await connection.execute("ALTER TABLE variant ADD PRIMARY KEY (position_id)")
    if "security_id" in stored:
        await connection.execute("ALTER TABLE variant ADD UNIQUE (portfolio_id, security_id)")
        await connection.execute("CREATE INDEX ON variant (security_id, position_id)")
        await connection.execute("CREATE INDEX ON variant (position_id) WHERE NOT isempty(holes)")
    await connection.execute("VACUUM ANALYZE variant")
    await connection.execute(
        """
        CREATE TEMP TABLE IF NOT EXISTS proposed AS
        SELECT position_id,
               datemultirange(daterange(frontier_date, frontier_date, '[]')) AS dates
        FROM position_state
        """
    )
    found: dict[str, Any] = {"variant": name}
    await connection.execute("CHECKPOINT")
    for when in ("first", "later"):
        before = await server.spent()
        for update in (_INVALIDATE, _APPLY):
            statement = await connection.prepare(update.format(table="variant"))
            for first in range(1, server.positions + 1, _PAGE):
                await statement.fetch(first, first + _PAGE - 1)
        found[when] = await server.since(before)
    await connection.execute("DROP TABLE variant")
    return found


async def _columns(connection: "asyncpg.Connection[asyncpg.Record]", variant: str) -> str:
    """Return the columns of a variant, with the checks that concern only them."""
    moved = VARIANTS[variant]
    rows = await connection.fetch(
        """
        SELECT attname, format_type(atttypid, atttypmod)
               || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
               || COALESCE(
                      ' GENERATED ALWAYS AS (' || pg_get_expr(adbin, adrelid) || ') STORED', '')
                   AS type
        FROM pg_attribute
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum AND attgenerated = 's'
        WHERE attrelid = 'position_state'::regclass AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """
    )
    types = {row["attname"]: row["type"] for row in rows}
    names = list(types)
    if moved:
        names = ["position_id", *moved]
        if "own" not in variant:
            names += [name for name in types if name not in names]
    checks = await connection.fetch(
        """
        SELECT pg_get_constraintdef(oid) AS text,
               ARRAY(SELECT attname::text FROM pg_attribute
                     WHERE attrelid = conrelid AND attnum = ANY (conkey)) AS names
        FROM pg_constraint
        WHERE conrelid = 'position_state'::regclass AND contype = 'c'
        """
    )
    parts = [f"{name} {types[name]}" for name in names]
    parts += [row["text"] for row in checks if set(row["names"]) <= set(names)]
    return ", ".join(parts)
