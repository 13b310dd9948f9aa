"""A thundering herd: mass corrections while a few other positions need their newest day.

First one security that all positions hold is corrected on many dates at once, then 1,000 securities
within a second. Meanwhile days open on another calendar for a few positions (the live lane).
Measured: how long those wait, without and during the herd; the largest number of jobs that were
PROCESSING at once; the memory of each kind of process; the progress of the correction.
"""

import asyncio
from time import perf_counter
from typing import Any

import ray

from revalue.actors import cluster
from revalue.benchmarks.cost import Meter
from revalue.benchmarks.dataset import OPEN, make_book
from revalue.benchmarks.harness import all_connected, quiet_again
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

_LIVE = (
    "INSERT INTO calendars (calendar_id) VALUES ('LIVE')",
    "INSERT INTO business_dates SELECT 'LIVE', business_date FROM business_dates "
    "WHERE calendar_id = 'BENCH'",
    """INSERT INTO portfolios (portfolio_id, base_currency, calendar_id)
       SELECT 'L' || n, 'USD', 'LIVE' FROM generate_series(1, 100) n""",
    "INSERT INTO instruments (security_id, currency, max_price_age_sessions) "
    "VALUES ('L', 'USD', 1000)",
    "INSERT INTO market_prices SELECT 'L', min(business_date), 50, 'USD', 'PER_UNIT' "
    "FROM business_dates",
    """INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no,
       open_dates, published_open_dates)
       SELECT portfolio_id, 'L', calendar_no, currency_no, span, span
       FROM portfolios
       JOIN calendars USING (calendar_id)
       JOIN currencies b ON b.currency = base_currency
       CROSS JOIN (
           SELECT datemultirange(daterange(min(business_date), NULL)) AS span
           FROM business_dates) s
       WHERE calendar_id = 'LIVE'""",
    """INSERT INTO position_history (position_id, valid_from_epoch, position_date, quantity,
           cost_basis_local, cost_basis)
       SELECT position_id, 0, lower(open_dates), 10, 500, 500 FROM position_state
       WHERE security_id = 'L'""",
    OPEN,
)
_DAY = f"""INSERT INTO business_dates SELECT 'LIVE', max(business_date) + 1 FROM business_dates
           WHERE calendar_id = 'LIVE';
           {OPEN}"""
_WAITING = """SELECT count(*) FROM position_state WHERE security_id = 'L'
              AND watermark_date IS DISTINCT FROM (
                  SELECT max(business_date) FROM business_dates WHERE calendar_id = 'LIVE')"""
_HERD = {
    "one security, all its dates": "UPDATE market_prices SET price = price + 1 "
    "WHERE security_id = 'S000001'",
    "1,000 securities, one date": """UPDATE market_prices SET price = price + 1 WHERE price_date = (
                                        SELECT min(business_date) FROM business_dates
                                        WHERE calendar_id = 'BENCH')""",
}


async def _live_day(connection: Any) -> float:
    """Open a day; return the seconds until the last live position is valued on it."""
    begun = perf_counter()
    await connection.execute(_DAY)
    while await connection.fetchval(_WAITING):
        await asyncio.sleep(0.005)
    return perf_counter() - begun


async def measure(
    database: Database, settings: Settings, positions: int, dates: int
) -> dict[str, Any]:
    """Return `quiet`, the seconds that live positions wait without a herd, and `herds`.

    Each herd has live_seconds, max_jobs (at once), positions_left (as seen over time), peak_mib.
    """
    await make_book(database, positions=positions, dates=dates, holders=positions)
    async with database.connection() as connection:
        await connection.execute(
            """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
               SELECT 'X' || n, 'USD', 1000 FROM generate_series(1, 1000) n"""
        )
        await connection.execute("SET revalue.loading_positions = on")
        for statement in _LIVE:
            await connection.execute(statement)
        await connection.execute(
            """INSERT INTO market_prices SELECT 'X' || n, min(business_date), 5, 'USD', 'PER_UNIT'
               FROM business_dates CROSS JOIN generate_series(1, 1000) n GROUP BY n"""
        )
        await connection.execute(
            """INSERT INTO position_state (portfolio_id, security_id, calendar_no,
                   base_currency_no, open_dates, published_open_dates)
               SELECT portfolio_id, 'X' || n, calendar_no, currency_no, span, span
               FROM generate_series(1, 1000) n
               JOIN portfolios ON portfolio_id = 'P' || lpad((n % 10 + 1)::text, 7, '0')
               JOIN calendars USING (calendar_id) JOIN currencies b ON b.currency = base_currency
               CROSS JOIN (
                   SELECT datemultirange(daterange(min(business_date), NULL)) AS span
                   FROM business_dates) s"""
        )
        await connection.execute(
            """INSERT INTO position_history (position_id, valid_from_epoch, position_date,
                   quantity, cost_basis_local, cost_basis)
               SELECT position_id, 0, lower(open_dates), 10, 500, 500 FROM position_state
               WHERE security_id LIKE 'X%'"""
        )
        await connection.execute("VACUUM ANALYZE position_state")
    scheduler = cluster.start_scheduler(database.url, settings)
    try:
        await quiet_again(scheduler)
        await all_connected(
            database, settings.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        )
        async with database.connection() as connection, database.connection() as live:
            quiet = [await _live_day(live) for _ in range(10)]
            herds = []
            for name, correction in _HERD.items():
                meter = Meter()
                await meter.start(database)
                begun = perf_counter()
                await connection.execute(correction)
                waited, max_jobs, left = [], 0, []
                while True:
                    waited.append(await _live_day(live))
                    meter.sample()
                    row: Any = await connection.fetchrow(
                        """SELECT
                               (SELECT count(*) FROM portfolio_valuation_jobs
                                WHERE status = 'PROCESSING') AS jobs,
                               (SELECT count(*) FROM position_status
                                WHERE state = 'REPROCESSING') AS left"""
                    )
                    max_jobs = max(max_jobs, row["jobs"])
                    left.append(row["left"])
                    if not row["left"]:
                        break
                cost = await meter.stop(database)
                herds.append(
                    {
                        "herd": name,
                        "seconds": round(perf_counter() - begun, 2),
                        "live_seconds": [round(value, 3) for value in waited],
                        "max_jobs": max_jobs,
                        "positions_left": left,
                        "peak_mib": cost.peak_mib,
                    }
                )
    finally:
        cluster.stop_scheduler(scheduler)
    return {
        "positions": positions,
        "dates": dates,
        "quiet": [round(value, 3) for value in quiet],
        "herds": herds,
    }
