"""Profile of one task: the functions in which it spends its time, and how often each is called."""

import cProfile
import pstats
from typing import Any

from revalue.benchmarks.dataset import make_book
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.valuation import in_storage_order
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.database import Database
from revalue.engine.stage import stage
from revalue.engine.stage.scan import scan_page
from revalue.engine.value.computation import compute
from revalue.engine.value.inputs import read_inputs
from revalue.engine.value.stores import encode_snapshots

_SHOWN = 15


async def measure(database: Database, positions: int, dates: int) -> dict[str, Any]:
    """Profile one task of positions x dates rows.

    Returns:
        rows, jobs, calls (of Python functions in all), seconds, functions (by their own time).
    """
    await make_book(database, positions=positions, dates=dates)
    reader = ArrowReader(database.url)
    term = await Term.acquire(database, "profile", lease_seconds=60)
    scanned = scan_page(reader, Lane.HISTORY, 0, page_positions=positions, live_business_days=5)
    staged = await stage.stage(
        term, scanned, Lane.HISTORY, task_rows=positions * dates, capacity_rows=positions * dates
    )
    profile = cProfile.Profile()
    profile.enable()
    inputs = read_inputs(reader, staged.tasks[0])
    assert inputs is not None
    valued = compute(inputs, max_attempts=3)
    encode_snapshots(in_storage_order(valued.rows.drop("span_no")))
    profile.disable()
    reader.close()
    stats: Any = pstats.Stats(profile)
    functions = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:_SHOWN]
    return {
        "rows": len(valued.rows),
        "spans": len(inputs.spans),
        "calls": stats.total_calls,
        "seconds": round(stats.total_tt, 3),
        "functions": [
            {"name": _name(where), "calls": calls, "own_seconds": round(own, 3)}
            for where, (_, calls, own, _, _) in functions
        ],
    }


def _name(where: tuple[str, int, str]) -> str:
    path, _, function = where
    return function if path == "~" else f"{'/'.join(path.split('/')[-2:])}: {function}"
