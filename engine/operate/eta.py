"""How long the due work will take: the position-days that are due, at the speed of recent jobs."""

from dataclasses import dataclass

import asyncpg

from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.settings import Settings

sql = statements(__package__)

_RECENT_JOBS = 1_000


@dataclass(frozen=True)
class Remaining:
    """The work that is left.

    Attributes:
        remaining_position_days: due position-days of positions that neither wait for data nor
            failed.
        rows_per_second: the speed of recent jobs of about as many rows per span.
        estimated_seconds: how long the work will take. This and the speed are None if no finished
            job is recorded.
    """

    remaining_position_days: int
    rows_per_second: float | None
    estimated_seconds: float | None


async def remaining(database: Connections, settings: Settings) -> Remaining:
    """Return the work that is left, read in one snapshot."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        due = await sql("due_work").one(connection)
        days, positions = due["days"], due["positions"]
        if not positions:
            return Remaining(0, None, 0.0)
        speed = await throughput(connection, days / positions, settings)
    if speed is None:
        return Remaining(days, None, None)
    return Remaining(days, float(speed["rows_per_second"]), days / float(speed["rows_per_second"]))


async def throughput(
    connection: Connection, rows_per_span: float, settings: Settings
) -> asyncpg.Record | None:
    """Return the speed of recent finished jobs, of those with about `rows_per_span` rows per
    span if there are such.

    Returns:
        only_like (whether only jobs of like size count), jobs, rows_written, rows_per_span and
        rows_per_second; None if no finished job is recorded.
    """
    return await sql("throughput").row(
        connection,
        rows=rows_per_span,
        max_jobs=_RECENT_JOBS,
        max_seconds=settings.task_deadline_seconds,
    )
