"""Whether another table would let a client be three times as fast as one INSERT .. SELECT: the same rows into other designs.

For each design, rows/s of the peer `sql` and of the peer `ceiling` on as many connections as there are cores. No engine can
write faster than the ceiling, so the ceiling against `sql` is the most that any could reach against `sql`.
"""

import os
from typing import Any

from benchmarks import peers
from benchmarks.book import make_book
from engine.core.lifecycle import Lane
from engine.store import results, staging
from engine.store.arrow import ArrowReader
from engine.store.database import Database
from engine.store.terms import Term
from engine.work import Valuer

DESIGNS = {
    "as it is": (),
    "without its index": ("ALTER TABLE {table} DROP CONSTRAINT {table}_pkey",),
    "not logged (nothing is durable)": ("ALTER TABLE {table} SET UNLOGGED",),
    "neither index nor log": ("ALTER TABLE {table} DROP CONSTRAINT {table}_pkey", "ALTER TABLE {table} SET UNLOGGED"),
}
_TASK_ROWS = 50_000


async def measure(database: Database, keys: int, dates: int) -> list[dict[str, Any]]:
    """design, sql and ceiling (rows/s), connections."""
    await make_book(database, keys=keys, dates=dates)
    await _valued(database, keys)
    connections = os.cpu_count() or 1
    found = []
    for design, changes in DESIGNS.items():
        computed = await peers.sql(database, changes)
        sent = await peers.ceiling(database, connections, changes)
        found.append(
            {
                "design": design,
                "connections": connections,
                "sql": round(computed.rows / computed.seconds),
                "ceiling": round(sent.rows / sent.seconds),
            }
        )
    return found


async def _valued(database: Database, keys: int) -> None:
    """The book's rows, by the engine's own moves, one after the other."""
    term = await Term.acquire(database, "designs", lease_seconds=60)
    reader, valuer = ArrowReader(database.url), await Valuer.open(database.url, max_attempts=1)
    scanned = staging.scan(reader, Lane.HISTORY, 0, page_keys=keys, live_sessions=5)
    staged = await staging.stage(term, scanned, Lane.HISTORY, task_rows=_TASK_ROWS, room_rows=2**31)
    for task in staged.tasks:
        await valuer.run(task)
        await results.apply(term, [task], results.Waits(1, 1))
    reader.close()
    await valuer.close()
