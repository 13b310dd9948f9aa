"""Scan and eligibility of many positions with due dates: CPU of this process and PostgreSQL."""

import asyncio
from time import perf_counter, process_time
from typing import Any

from revalue.benchmarks.cost import Meter
from revalue.benchmarks.dataset import make_book
from revalue.engine.core.lifecycle import Lane
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database
from revalue.engine.stage.scan import PAGE_POSITIONS, scan_page


async def measure(database: Database, positions: int) -> dict[str, Any]:
    """Return positions, seconds, and the CPU seconds of this process and of PostgreSQL.

    Raises:
        AssertionError: not every position has two due dates.
    """
    await make_book(database, positions=positions, dates=2)
    reader = ArrowReader(database.url)
    meter = Meter()
    await meter.start(database)
    begun, cpu = perf_counter(), process_time()
    cursor: int | None = 0
    found = rows = 0
    while cursor is not None:
        page = await asyncio.to_thread(
            scan_page,
            reader,
            Lane.HISTORY,
            cursor,
            page_positions=PAGE_POSITIONS,
            live_business_days=5,
        )
        found += len(page.positions)
        rows += int(page.ranges["rows"].sum())
        cursor = page.next_cursor
    engine = process_time() - cpu
    seconds = perf_counter() - begun
    cost = await meter.stop(database)
    reader.close()
    if (found, rows) != (positions, 2 * positions):
        raise AssertionError(
            f"{found} positions with {rows} due dates, not {positions} with {2 * positions}"
        )
    return {
        "positions": positions,
        "seconds": round(seconds, 2),
        "engine_cpu_seconds": round(engine, 2),
        "postgresql_cpu_seconds": cost.cpu_seconds.get("postgresql", 0.0),
    }
