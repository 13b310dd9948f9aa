"""What the live console shows, read in one snapshot: positions, work in flight, and lags."""

from dataclasses import asdict, dataclass
from typing import Any

from revalue.engine.operate import eta
from revalue.engine.operate.status import list_corrections, list_dead_letters, read_status
from revalue.engine.postgres.database import Connections, OpenTransaction
from revalue.engine.postgres.statement import statements
from revalue.engine.settings import Settings

sql = statements(__package__)

LAG_BOUNDS = (0, 1, 5, 21, 63, 252)
"""Calendar days from watermark to horizon. A position counts in the first class whose bound its lag
does not exceed, or in the class after the last bound."""

_RECENT_SECONDS, _RECENT_JOBS = 5, 20_000
_CORRECTIONS, _DEAD_LETTERS, _PORTFOLIOS = 50, 20, 50


@dataclass(frozen=True)
class ConsoleState:
    """One sample of the live console.

    Attributes:
        state: what GET /reprocessing has, and the lists corrections, recent_dead_letters and
            portfolios (each with a limit), actors, jobs_in_flight and tasks_in_flight.
        lags: number of positions per class of LAG_BOUNDS.
        rows_per_second: of the jobs that finished in the last 5 seconds.
    """

    state: dict[str, Any]
    lags: tuple[int, ...]
    rows_per_second: float


async def read_console_state(database: Connections, settings: Settings) -> ConsoleState:
    """Return the present state of the engine.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
        StatementCancelledError: PostgreSQL cancelled a statement, for example after a timeout.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        inside = OpenTransaction(connection)
        status = await read_status(inside)
        left = await eta.remaining(inside, settings)
        dead_letters = await list_dead_letters(inside, still_failed=True, limit=_DEAD_LETTERS)
        corrections = await list_corrections(inside, limit=_CORRECTIONS)
        portfolios = await sql("console_portfolios").fetch(connection, limit=_PORTFOLIOS)
        work = await sql("console_work").one(
            connection, seconds=_RECENT_SECONDS, max_jobs=_RECENT_JOBS
        )
        lags = await sql("watermark_lags").fetch(connection)
    counts = [0] * (len(LAG_BOUNDS) + 1)
    for row in lags:
        counts[sum(row["lag_days"] > bound for bound in LAG_BOUNDS)] += row["positions"]
    state = {
        **asdict(status),
        **asdict(left),
        **dict(work),
        "is_current": status.is_current,
        "lease_seconds": settings.lease_seconds,
        "reasons": [
            {"reason": reason, "positions": positions, "example": example}
            for reason, positions, example in status.reasons
        ],
        "corrections": corrections,
        "recent_dead_letters": dead_letters,
        "portfolios": [dict(row) for row in portfolios],
    }
    return ConsoleState(state, tuple(counts), work["rows_per_second_now"])
