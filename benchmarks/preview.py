"""Previews of rates that reach half of a book: time, and memory of the process that previews.

Half of the portfolios report in euros and hold securities in dollars, so a corrected rate reaches
all of their positions: on its own date, or as a file on many dates.
"""

import asyncio
import resource
from decimal import Decimal
from time import perf_counter
from typing import Any

import polars as pl

from revalue.actors import cluster
from revalue.benchmarks.dataset import make_book
from revalue.benchmarks.harness import quiet_again
from revalue.engine.correct.corrections.files import correct_file
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import preview
from revalue.engine.settings import Settings


async def measure(
    database: Database, settings: Settings, positions: int, dates: int
) -> dict[str, Any]:
    """Value a book, then preview a rate of one date, of half of the dates, and of all of them.

    Returns:
        positions, dates, and of each preview: dates, positions, position_days, seconds (of each of
        two runs) and peak_mib (of this process so far: the smallest preview is the first).
    """
    await make_book(database, positions=positions, dates=dates)
    scheduler = cluster.start_scheduler(database.url, settings)
    try:
        await quiet_again(scheduler)
    finally:
        await asyncio.to_thread(cluster.stop_scheduler, scheduler)
    async with database.connection() as connection:
        await connection.execute("VACUUM ANALYZE daily_position_snapshots")
        stored: Any = await connection.fetch("SELECT rate_date, rate FROM fx_rates ORDER BY 1")
    previews = []
    for corrected in (1, dates // 2, dates):
        rates = pl.DataFrame(
            {
                "base_currency": ["EUR"] * corrected,
                "quote_currency": ["USD"] * corrected,
                "rate_date": [day for day, _ in stored[-corrected:]],
                "rate": [str(rate + Decimal("0.01")) for _, rate in stored[-corrected:]],
            }
        )

        async def correct(inside: Connections, rates: pl.DataFrame = rates) -> Any:
            return await correct_file(inside, rates)

        seconds = []
        for _ in range(2):
            begun = perf_counter()
            told = await preview(database, correct, settings)
            seconds.append(round(perf_counter() - begun, 2))
        previews.append(
            {
                "dates": corrected,
                "positions": told.positions,
                "position_days": told.position_days,
                "seconds": seconds,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    return {"positions": positions, "dates": dates, "previews": previews}
