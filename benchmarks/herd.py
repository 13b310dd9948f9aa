"""A thundering herd: mass corrections while a few other positions need their newest day.

First one security that all positions hold is corrected on many dates at once, then 1,000 securities
within a second. Meanwhile days open on another calendar for a few positions (the live lane), one
after another with a pause. Measured: how long those wait, without and during the herd; the largest
number of tasks in flight; CPU and memory of each kind of process.

What is looked at meanwhile is the live positions, by their ids, and what the scheduler reports of
itself: nothing that reads a whole table. What the looking costs is measured, too (`client`).
"""

import asyncio
from dataclasses import asdict
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
_LIVE_POSITIONS = "SELECT array_agg(position_id) FROM position_state WHERE security_id = 'L'"
_WAITING = """SELECT count(*) FROM position_state WHERE position_id = ANY($1)
              AND watermark_date IS DISTINCT FROM (
                  SELECT max(business_date) FROM business_dates WHERE calendar_id = 'LIVE')"""
_HERD = {
    "one security, all its dates": "UPDATE market_prices SET price = price + 1 "
    "WHERE security_id = 'S000001'",
    "1,000 securities, one date": """UPDATE market_prices SET price = price + 1
                                    WHERE security_id <> 'L' AND price_date = (
                                        SELECT min(business_date) FROM business_dates
                                        WHERE calendar_id = 'BENCH')""",
}


_QUIET_DAYS = 20
_PAUSE_SECONDS = 0.25
_LOOK_SECONDS = 0.01
_PROGRESS_SECONDS = 0.2
_MEMORY_SECONDS = 1.0


async def _live_days(database: Database, waited: list[float], days: int | None = None) -> None:
    """Open days one after another; append to `waited` the seconds of each.

    They are those until the last live position is valued on the day, to within _LOOK_SECONDS.
    """
    async with database.connection() as connection:
        positions = await connection.fetchval(_LIVE_POSITIONS)
        while days is None or len(waited) < days:
            begun = perf_counter()
            await connection.execute(_DAY)
            while await connection.fetchval(_WAITING, positions):
                await asyncio.sleep(_LOOK_SECONDS)
            waited.append(perf_counter() - begun)
            await asyncio.sleep(_PAUSE_SECONDS)


async def _until_quiet(scheduler: Any, meter: Meter) -> int:
    """Wait until the scheduler has nothing to do; return the largest number of tasks in flight.

    Between two live days it is seen to be quiet, or after the next one.
    """
    in_flight, sampled = 0, 0.0
    while True:
        progress: dict[str, Any] = await asyncio.to_thread(
            lambda: ray.get(scheduler.progress.remote(), timeout=60)
        )
        in_flight = max(in_flight, int(progress["in_flight"]))
        if progress["quiet"]:
            return in_flight
        if perf_counter() - sampled > _MEMORY_SECONDS:
            meter.sample()
            sampled = perf_counter()
        await asyncio.sleep(_PROGRESS_SECONDS)


async def _herd(database: Database, scheduler: Any, name: str, correction: str) -> dict[str, Any]:
    meter, waited = Meter(), list[float]()
    await meter.start(database)
    begun = perf_counter()
    async with database.connection() as connection:
        await connection.execute(correction)
    corrected = perf_counter() - begun
    days = asyncio.create_task(_live_days(database, waited))
    try:
        in_flight = await _until_quiet(scheduler, meter)
        seconds = perf_counter() - begun
        cost = await meter.stop(database)
    finally:
        days.cancel()
        await asyncio.gather(days, return_exceptions=True)
    if not waited:
        raise AssertionError(f"{name}: it was over before a single day was valued: take more dates")
    return {
        "herd": name,
        "seconds": round(seconds, 2),
        "correction_seconds": round(corrected, 2),
        "live_seconds": [round(value, 3) for value in waited],
        "max_tasks_in_flight": in_flight,
        "cost": asdict(cost),
    }


async def measure(
    database: Database, settings: Settings, positions: int, dates: int
) -> dict[str, Any]:
    """Return `quiet`, the seconds that live positions wait without a herd, and `herds`.

    Each herd has seconds, correction_seconds (of the input's own statement), live_seconds,
    max_tasks_in_flight and cost. Each is a single run.
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
        quiet: list[float] = []
        await _live_days(database, quiet, _QUIET_DAYS)
        herds = []
        for name, correction in _HERD.items():
            await quiet_again(scheduler)
            herds.append(await _herd(database, scheduler, name, correction))
    finally:
        cluster.stop_scheduler(scheduler)
    return {
        "positions": positions,
        "dates": dates,
        "quiet": [round(value, 3) for value in quiet],
        "herds": herds,
    }
