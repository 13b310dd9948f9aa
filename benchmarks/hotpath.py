"""Where a valuation actor's Python goes: the functions in which one task spends its time, and how often each is called."""

import cProfile
import pstats
from typing import Any

from benchmarks.book import make_book
from engine.core.lifecycle import Lane
from engine.store import staging
from engine.store.arrow import ArrowReader, encode_binary_copy
from engine.store.database import Database
from engine.store.inputs import read_inputs
from engine.store.terms import Term
from engine.work import compute

_SHOWN = 15


async def measure(database: Database, keys: int, dates: int) -> dict[str, Any]:
    """One task of keys x dates rows: rows, number of Python calls in all, and the functions by their own time."""
    await make_book(database, keys=keys, dates=dates)
    reader = ArrowReader(database.url)
    term = await Term.acquire(database, "profile", lease_seconds=60)
    scanned = staging.scan(reader, Lane.HISTORY, 0, page_keys=keys, live_sessions=5)
    staged = await staging.stage(term, scanned, Lane.HISTORY, task_rows=keys * dates, room_rows=keys * dates)
    profile = cProfile.Profile()
    profile.enable()
    inputs = read_inputs(reader, staged.tasks[0])
    assert inputs is not None
    valued = compute(inputs, max_attempts=3)
    encode_binary_copy(valued.rows)
    profile.disable()
    reader.close()
    stats: Any = pstats.Stats(profile)
    functions = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:_SHOWN]
    return {
        "rows": len(valued.rows),
        "jobs": len(inputs.jobs),
        "calls": stats.total_calls,
        "seconds": round(stats.total_tt, 3),
        "functions": [
            {"name": _name(where), "calls": calls, "own_seconds": round(own, 3)} for where, (_, calls, own, _, _) in functions
        ],
    }


def _name(where: tuple[str, int, str]) -> str:
    path, _, function = where
    return function if path == "~" else f"{'/'.join(path.split('/')[-2:])}: {function}"
