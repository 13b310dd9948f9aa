"""What the live console shows, as of one moment: where the positions stand, what is at work, how far behind they are."""

from dataclasses import asdict, dataclass
from typing import Any

from revalue.engine.operate import eta
from revalue.engine.operate.status import list_dead_letters, read_status
from revalue.engine.postgres.database import Database, OpenTransaction
from revalue.engine.postgres.statement import statements
from revalue.engine.settings import Settings

sql = statements(__package__)

LAG_BOUNDS = (0, 1, 5, 21, 63, 252)
"""Calendar days from watermark to horizon: a position counts in the first that its lag does not exceed, or in one more."""

_RECENT_SECONDS, _RECENT_JOBS = 5, 20_000
_CORRECTIONS, _LETTERS, _PORTFOLIOS = 50, 20, 50


@dataclass(frozen=True)
class Picture:
    """state: as GET /reprocessing has it, with corrections, recent_dead_letters, portfolios and what is in flight, each list bounded.
    lags: positions by LAG_BOUNDS. rows_per_second: of the jobs that finished in the last seconds."""

    state: dict[str, Any]
    lags: tuple[int, ...]
    rows_per_second: float


async def picture(database: Database, settings: Settings) -> Picture:
    """How it stands. Raises DatabaseUnavailableError, StatementCancelledError."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        inside = OpenTransaction(connection)
        status = await read_status(inside)
        left = await eta.remaining(inside, settings)
        letters = await list_dead_letters(inside, still_failed=True, most=_LETTERS)
        corrections = await sql("corrections").fetch(connection, most=_CORRECTIONS)
        portfolios = await sql("console_portfolios").fetch(connection, most=_PORTFOLIOS)
        work = await sql("console_work").row(
            connection, seconds=_RECENT_SECONDS, most_jobs=_RECENT_JOBS
        )
        lags = await sql("watermark_lags").fetch(connection)
    assert work is not None
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
        "corrections": [dict(row) for row in corrections],
        "recent_dead_letters": letters,
        "portfolios": [dict(row) for row in portfolios],
    }
    return Picture(state, tuple(counts), work["rows_per_second_now"])
