"""What a user would use otherwise, on the same server and with the same table definition."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import asyncpg

from revalue.benchmarks.dataset import COLUMNS, SQL_BASELINE
from revalue.engine.postgres.database import Database

_CHUNK_ROWS = 50_000

_KEY = """SELECT string_agg(a.attname, ', ' ORDER BY k.place)
          FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place), pg_attribute a
          WHERE i.indrelid = 'daily_position_snapshots'::regclass AND i.indisprimary
              AND a.attrelid = i.indrelid AND a.attnum = k.attnum"""
"""The columns of the primary key, in its order."""


@dataclass(frozen=True)
class Timed:
    """Rows made durable, and the seconds it took."""

    rows: int
    seconds: float


async def empty_copy(database: Database, name: str, changes: Sequence[str] = ()) -> None:
    """Create an empty table with the columns, constraints and indexes of daily_position_snapshots.

    It has no partitions: rows are not routed, which is an advantage over the engine.

    Args:
        changes: statements that then change it; {table} stands for its name.
    """
    async with database.connection() as connection:
        await connection.execute(f"DROP TABLE IF EXISTS {name}")
        await connection.execute(
            f"CREATE TABLE {name} (LIKE daily_position_snapshots INCLUDING ALL)"
        )
        for change in changes:
            await connection.execute(change.format(table=name))
        await connection.execute("CHECKPOINT")


async def sql(database: Database, connections: int = 1, changes: Sequence[str] = ()) -> Timed:
    """The best INSERT .. SELECT: PostgreSQL computes everything.

    Each connection has a range of the positions and one transaction, and all begin at once.
    """
    await empty_copy(database, "baseline_sql", changes)
    async with database.connection() as connection:
        bounds = await connection.fetch(
            """SELECT min(position_id) AS first, max(position_id) AS last
               FROM (SELECT position_id, ntile($1) OVER (ORDER BY position_id) AS part
                     FROM position_state) p
               GROUP BY part ORDER BY 1""",
            connections,
        )
    opened: list[Any] = [await asyncpg.connect(database.url) for _ in bounds]

    async def compute(connection: Any, bound: Any) -> int:
        tag = await connection.execute(
            SQL_BASELINE.format(table="baseline_sql", first=bound["first"], last=bound["last"])
        )
        return int(tag.split()[-1])

    try:
        begun = perf_counter()
        rows = await asyncio.gather(*map(compute, opened, bounds))
        seconds = perf_counter() - begun
    finally:
        for used in opened:
            await used.close()
    return Timed(sum(rows), seconds)


async def chunks_of(connection: Any, rows: int) -> list[Any]:
    """Return the first and the last position of runs of positions that have about `rows` rows."""
    return list(
        await connection.fetch(
            """SELECT min(position_id) AS first, max(position_id) AS last
               FROM (
                   SELECT position_id,
                       (sum(n) OVER (ORDER BY position_id) - n)::bigint / $1::bigint AS chunk
                   FROM (
                       SELECT position_id, count(*) AS n FROM daily_position_snapshots
                       GROUP BY 1) k) c
               GROUP BY chunk ORDER BY 1""",
            rows,
        )
    )


async def upper_bound(database: Database, connections: int, changes: Sequence[str] = ()) -> Timed:
    """Send the engine's own rows, already encoded, by binary COPY: 50,000 rows per transaction.

    The rows of each are in the order of the primary key, as the engine sends them. The table has no
    partitions.
    """
    chunks: list[list[bytes]] = []
    async with database.connection() as connection:
        order = await connection.fetchval(_KEY)
        total = await connection.fetchval("SELECT count(*) FROM daily_position_snapshots")
        bounds = await chunks_of(connection, _CHUNK_ROWS)
        for bound in bounds:
            parts: list[bytes] = []

            async def keep(data: bytes, parts: list[bytes] = parts) -> None:
                parts.append(data)

            await connection.copy_from_query(
                f"SELECT {COLUMNS} FROM daily_position_snapshots "
                f"WHERE position_id BETWEEN $1 AND $2 ORDER BY {order}",
                bound["first"],
                bound["last"],
                output=keep,
                format="binary",
            )
            whole = b"".join(parts)
            chunks.append([whole[at : at + 1_000_000] for at in range(0, len(whole), 1_000_000)])
    await empty_copy(database, "baseline_upper_bound", changes)
    opened: list[Any] = [await asyncpg.connect(database.url) for _ in range(connections)]
    queue = list(reversed(chunks))

    async def send(connection: Any) -> None:
        while queue:
            parts = queue.pop()

            async def stream(parts: list[bytes] = parts) -> AsyncIterator[bytes]:
                for part in parts:
                    yield part

            async with connection.transaction():
                await connection.copy_to_table(
                    "baseline_upper_bound",
                    columns=COLUMNS.split(", "),
                    source=stream(),
                    format="binary",
                )

    begun = perf_counter()
    await asyncio.gather(*(send(connection) for connection in opened))
    seconds = perf_counter() - begun
    for used in opened:
        await used.close()
    return Timed(total, seconds)


async def per_job(database: Database, jobs: int) -> Timed:
    """The classic worker: per position-day one job row, about ten small queries and one commit."""
    await empty_copy(database, "baseline_job")
    async with database.connection() as connection:
        await connection.execute("DROP TABLE IF EXISTS baseline_jobs")
        await connection.execute(
            """CREATE TABLE baseline_jobs (
                   job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                   position_id bigint, date date, status text)"""
        )
        await connection.execute(
            """INSERT INTO baseline_jobs (position_id, date, status)
               SELECT position_id, business_date, 'PENDING'
               FROM position_state CROSS JOIN business_dates
               ORDER BY 1, 2 LIMIT $1""",
            jobs,
        )
        # A small book has fewer.
        jobs = min(jobs, await connection.fetchval("SELECT count(*) FROM baseline_jobs"))
        begun = perf_counter()
        for number in range(1, jobs + 1):
            await _one_job(connection, number)
        return Timed(jobs, perf_counter() - begun)


async def _one_job(c: Any, number: int) -> None:
    async with c.transaction():
        job = await c.fetchrow(
            "SELECT * FROM baseline_jobs WHERE job_id = $1 "
            "AND status = 'PENDING' FOR UPDATE SKIP LOCKED",
            number,
        )
        await c.execute("UPDATE baseline_jobs SET status = 'PROCESSING' WHERE job_id = $1", number)
        position = await c.fetchrow(
            "SELECT * FROM position_state WHERE position_id = $1", job["position_id"]
        )
        portfolio = await c.fetchrow(
            "SELECT * FROM portfolios WHERE portfolio_id = $1", position["portfolio_id"]
        )
        instrument = await c.fetchrow(
            "SELECT * FROM instruments WHERE security_id = $1", position["security_id"]
        )
        held = await c.fetchrow(
            """SELECT * FROM position_history
               WHERE position_id = $1 AND valid_to_epoch IS NULL AND position_date <= $2
               ORDER BY position_date DESC LIMIT 1""",
            position["position_id"],
            job["date"],
        )
        price = await c.fetchrow(
            "SELECT * FROM market_prices WHERE security_id = $1 AND price_date <= $2 "
            "ORDER BY price_date DESC LIMIT 1",
            position["security_id"],
            job["date"],
        )
        rate, rate_date, path = 1, None, 0
        if portfolio["base_currency"] != instrument["currency"]:
            row = await c.fetchrow(
                """SELECT round(1::numeric(60, 40) / rate, 18) AS rate, rate_date FROM fx_rates
                   WHERE base_currency = $1 AND quote_currency = $2 AND rate_date <= $3
                   ORDER BY rate_date DESC LIMIT 1""",
                portfolio["base_currency"],
                instrument["currency"],
                job["date"],
            )
            rate, rate_date, path = row["rate"], row["rate_date"], 2
        local = round(held["quantity"] * price["price"], 10)
        value = round(local * rate, 10)
        await c.execute(
            f"INSERT INTO baseline_job ({COLUMNS}) "
            "VALUES ($1, $2, $3, 0, $4, $5, $6, 0, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            position["position_id"],
            number,
            job["date"],
            price["price_date"],
            rate_date,
            path,
            held["quantity"],
            held["cost_basis_local"],
            held["cost_basis"],
            price["price"],
            rate,
            local,
            value,
            local - held["cost_basis_local"],
            value - held["cost_basis"],
        )
        await c.execute("UPDATE baseline_jobs SET status = 'COMPLETE' WHERE job_id = $1", number)
