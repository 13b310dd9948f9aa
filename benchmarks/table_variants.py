"""Would another table let a client be three times as fast as one INSERT .. SELECT?

For each variant of the table: rows/s of the baseline `sql`, and of `upper-bound` on as many
connections as there are cores. No engine can write faster than the upper bound, so its ratio to
`sql` is the largest that any engine could reach.
"""

import os
from typing import Any

from revalue.benchmarks import baselines
from revalue.benchmarks.dataset import make_book
from revalue.engine.apply import apply
from revalue.engine.core.lifecycle import Lane
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database
from revalue.engine.stage import stage
from revalue.engine.stage.scan import scan_page
from revalue.engine.value.valuer import Valuer, ValuerOptions

VARIANTS = {
    "as it is": (),
    "without its index": ("ALTER TABLE {table} DROP CONSTRAINT {table}_pkey",),
    "not logged (nothing is durable)": ("ALTER TABLE {table} SET UNLOGGED",),
    "neither index nor log": (
        "ALTER TABLE {table} DROP CONSTRAINT {table}_pkey",
        "ALTER TABLE {table} SET UNLOGGED",
    ),
}
_TASK_ROWS = 50_000


async def measure(database: Database, positions: int, dates: int) -> list[dict[str, Any]]:
    """Return per variant: sql and upper_bound (rows/s), connections."""
    await make_book(database, positions=positions, dates=dates)
    await _valued(database, positions)
    connections = os.cpu_count() or 1
    found = []
    for variant, changes in VARIANTS.items():
        computed = await baselines.sql(database, changes=changes)
        sent = await baselines.upper_bound(database, connections, changes)
        found.append(
            {
                "variant": variant,
                "connections": connections,
                "sql": round(computed.rows / computed.seconds),
                "upper_bound": round(sent.rows / sent.seconds),
            }
        )
    return found


async def _valued(database: Database, positions: int) -> None:
    """Value the book by the engine's own steps, one after the other."""
    term = await Term.acquire(database, "table variants", lease_seconds=60)
    reader, valuer = (
        ArrowReader(database.url),
        await Valuer.open(database.url, ValuerOptions(max_attempts=1)),
    )
    scanned = scan_page(reader, Lane.HISTORY, 0, page_positions=positions, live_business_days=5)
    staged = await stage.stage(
        term, scanned, Lane.HISTORY, task_rows=_TASK_ROWS, capacity_rows=2**31
    )
    for task in staged.tasks:
        await valuer.run(task)
        await apply.apply(term, [task], retry_seconds=2)
    reader.close()
    await valuer.close()
