"""The baseline `duckdb`: the same numbers by ASOF joins in DuckDB, from Arrow tables in memory.

DuckDB downloads its postgres extension on first use, which is not possible everywhere, so the
result is written by the engine's own encoder, on one connection. Amounts are whole numbers of
10^-10 and rates of 10^-18: DuckDB's decimals end at 38 digits, and it divides decimals in floating
point.
"""

import asyncio
from time import perf_counter

import polars as pl
import pyarrow as pa

from revalue.benchmarks.baselines import Timed, empty_copy
from revalue.benchmarks.dataset import COLUMNS
from revalue.engine.errors import UsageError
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.bulk_copy import copy_encoded, encode_binary_copy
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Statement

_INPUTS = {
    "positions": """SELECT p.position_id, p.security_id, f.base_currency,
                        h.quantity::bigint AS quantity,
                        (h.cost_basis_local * 10000000000)::bigint AS cost_local,
                        (h.cost_basis * 10000000000)::bigint AS cost
                    FROM position_state p JOIN portfolios f USING (portfolio_id)
                    JOIN position_history h ON h.position_id = p.position_id
                        AND h.valid_to_epoch IS NULL""",
    "sessions": "SELECT business_date AS date FROM business_dates WHERE calendar_id = 'BENCH'",
    "prices": "SELECT security_id, price_date, (price * 10000000000)::bigint AS price "
    "FROM market_prices",
    "rates": "SELECT rate_date, (rate * 10000)::bigint AS rate FROM fx_rates",
}

# All amounts of the book are positive and there are no ties: adding a half and truncating rounds.
_COMPUTE = """
    WITH priced AS (
        SELECT d.security_id, d.date, p.price, p.price_date
        FROM (SELECT DISTINCT security_id, date FROM positions CROSS JOIN sessions) d
        ASOF JOIN prices p ON p.security_id = d.security_id AND p.price_date <= d.date
    ), rated AS (
        SELECT s.date, r.rate_date,
            ((10000000000000000000000::HUGEINT + r.rate // 2) // r.rate)::HUGEINT AS rate
        FROM sessions s ASOF JOIN rates r ON r.rate_date <= s.date
    ), valued AS (
        SELECT k.position_id, x.date, x.price_date, k.base_currency = 'EUR' AS converts,
            r.rate_date, r.rate, k.quantity, k.cost_local, k.cost, x.price,
            k.quantity * x.price::HUGEINT AS local
        FROM positions k JOIN priced x USING (security_id) JOIN rated r ON r.date = x.date
    )
    SELECT position_id, 0::BIGINT AS job_id, date, 0::INTEGER AS epoch, price_date,
        CASE WHEN converts THEN rate_date END AS fx_date,
        (CASE WHEN converts THEN 2 ELSE 0 END)::SMALLINT AS fx_path,
        (CASE WHEN price_date = date THEN 0 ELSE 1 END)::SMALLINT AS status,
        (quantity * 10000000000::HUGEINT)::HUGEINT AS quantity,
        cost_local::HUGEINT AS cost_basis_local,
        cost::HUGEINT AS cost_basis,
        (price * 100000000::HUGEINT)::HUGEINT AS price,
        CASE WHEN converts THEN rate ELSE 1000000000000000000::HUGEINT END AS fx_rate,
        local AS market_value_local, value AS market_value,
        (local - cost_local)::HUGEINT AS unrealized_gain_local,
        (value - cost)::HUGEINT AS unrealized_gain
    FROM (
        SELECT *,
            CASE WHEN converts
                THEN (local * rate + 500000000000000000) // 1000000000000000000
                ELSE local
            END AS value
        FROM valued)
    ORDER BY position_id, date
"""
_RATES = ("price", "fx_rate")


async def duckdb(database: Database) -> dict[str, Timed]:
    """Time computing alone, and with one connection's COPY of the result.

    The rows go to the table `baseline_duckdb`, a copy of the engine's table.
    """
    try:
        import duckdb as library
    except ImportError:
        raise UsageError(
            "the baseline duckdb needs the package duckdb: pip install -r requirements-dev.txt"
        ) from None
    reader = ArrowReader(database.url)
    with reader.snapshot() as snapshot:
        inputs = {
            name: snapshot.read(Statement.parse(query)).to_arrow()
            for name, query in _INPUTS.items()
        }
    reader.close()
    await empty_copy(database, "baseline_duckdb")
    session = library.connect()
    session.execute("SET threads = 2")
    for name, table in inputs.items():
        session.register(name, table)
    begun = perf_counter()
    result: pa.Table = await asyncio.to_thread(lambda: session.sql(_COMPUTE).to_arrow_table())
    computed = perf_counter() - begun
    rows = pl.DataFrame(pl.from_arrow(_as_numerics(result)))
    async with database.transaction() as connection:
        await copy_encoded(connection, "baseline_duckdb", rows.columns, encode_binary_copy(rows))
    return {
        "duckdb, computing alone": Timed(len(rows), computed),
        "duckdb, and COPY": Timed(len(rows), perf_counter() - begun),
    }


def _as_numerics(table: pa.Table) -> pa.Table:
    """Read 128-bit whole numbers as the decimals that they stand for; no byte changes."""
    columns = []
    for name in COLUMNS.split(", "):
        column = table[name].combine_chunks()
        if pa.types.is_decimal(column.type):
            kind = pa.decimal128(38, 18) if name in _RATES else pa.decimal128(38, 10)
            column = pa.Array.from_buffers(
                kind, len(column), column.buffers(), column.null_count, column.offset
            )
        columns.append(column)
    return pa.table(dict(zip(COLUMNS.split(", "), columns, strict=True)))
