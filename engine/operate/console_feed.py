"""What the live console shows: positions as they were counted, work in flight, and lags."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from revalue.engine.operate import eta
from revalue.engine.operate.position_counts import PositionCounts
from revalue.engine.operate.status import (
    Status,
    list_corrections,
    list_dead_letters,
    read_status,
)
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import statements
from revalue.engine.settings import Settings

sql = statements(__package__)

LAG_BOUNDS = (0, 1, 5, 21, 63, 252)
"""Calendar days from watermark to horizon. A position counts in the first class whose bound its lag
does not exceed, or in the class after the last bound."""

_RECENT_SECONDS, _RECENT_JOBS = 5, 1_000
_CORRECTIONS, _DEAD_LETTERS = 50, 20


@dataclass(frozen=True)
class ConsoleState:
    """One sample of the live console.

    Attributes:
        state: what GET /reprocessing has, and the lists corrections, recent_dead_letters and
            portfolios (each with a limit), actors, tasks_in_flight, jobs_in_flight and
            spans_in_flight. All of it is of the time `read_at`, but what was counted at
            `counted_at`.
        lags: number of positions per class of LAG_BOUNDS.
        rows_per_second: of the jobs that finished in the last 5 seconds.
    """

    state: dict[str, Any]
    lags: tuple[int, ...]
    rows_per_second: float


async def read_console_state(
    database: Connections, counts: PositionCounts, settings: Settings
) -> ConsoleState:
    """Return the present state of the engine, with positions as they were counted.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        StatementCancelledError: PostgreSQL cancelled a statement, for example after a timeout.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        inside = OpenTransaction(connection)
        status = await read_status(inside, counts)
        dead_letters = await list_dead_letters(inside, still_failed=True, limit=_DEAD_LETTERS)
        corrections = await list_corrections(inside, counts, limit=_CORRECTIONS)
        work = await sql("console_work").one(
            connection, seconds=_RECENT_SECONDS, max_jobs=_RECENT_JOBS
        )
    lags = [0] * (len(LAG_BOUNDS) + 1)
    for lag, positions in counts.lags.items():
        lags[sum(lag > bound for bound in LAG_BOUNDS)] += positions
    state = {
        **asdict(status),
        **asdict(known_left(counts, status, settings)),
        **dict(work),
        "is_current": status.is_current,
        "lease_seconds": settings.lease_seconds,
        "reasons": [
            {"reason": reason, "positions": positions, "example": example}
            for reason, positions, example in status.reasons
        ],
        "corrections": corrections,
        "recent_dead_letters": dead_letters,
        "portfolios": counts.portfolios,
    }
    return ConsoleState(state, tuple(lags), work["rows_per_second_now"])


def known_left(counts: PositionCounts, status: Status, settings: Settings) -> eta.Remaining:
    """Return the work that was left when it was counted.

    The time that it takes is unknown without a scheduler, and while a trigger is queued.
    """
    left = counts.left
    if left is None:
        raise LookupError("the work that is left was not counted")
    age = status.heartbeat_age_seconds
    is_led = status.holder is not None and age is not None and age < settings.lease_seconds
    is_known = not status.triggers_queued and (is_led or not left.remaining_position_days)
    return left if is_known else replace(left, rows_per_second=None, estimated_seconds=None)
