"""Scan and eligibility over many keys that owe a date: CPU seconds of this process and of PostgreSQL."""

import asyncio
from time import perf_counter, process_time
from typing import Any

from benchmarks.book import make_book
from benchmarks.cost import Meter
from engine.core.lifecycle import Lane
from engine.store import staging
from engine.store.arrow import ArrowReader
from engine.store.database import Database

PAGE_KEYS = 20_000


async def measure(database: Database, keys: int) -> dict[str, Any]:
    """keys, seconds, cpu_seconds of this process and of PostgreSQL. Every key is found to owe two dates, or it raises."""
    await make_book(database, keys=keys, dates=2)
    reader = ArrowReader(database.url)
    meter = Meter()
    await meter.start(database)
    begun, cpu = perf_counter(), process_time()
    cursor: int | None = 0
    found = rows = 0
    while cursor is not None:
        page = await asyncio.to_thread(staging.scan, reader, Lane.HISTORY, cursor, page_keys=PAGE_KEYS, live_sessions=5)
        found += len(page.keys)
        rows += int(page.ranges["rows"].sum())
        cursor = page.next_cursor
    engine = process_time() - cpu
    seconds = perf_counter() - begun
    cost = await meter.stop(database)
    reader.close()
    if (found, rows) != (keys, 2 * keys):
        raise AssertionError(f"{found} keys owe {rows} dates, not {keys} and {2 * keys}")
    return {
        "keys": keys,
        "seconds": round(seconds, 2),
        "engine_cpu_seconds": round(engine, 2),
        "postgresql_cpu_seconds": cost.cpu_seconds.get("postgresql", 0.0),
    }
