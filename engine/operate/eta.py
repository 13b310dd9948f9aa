"""How long the work that is owed will take: what is left, by the speed of the jobs done last."""

from dataclasses import dataclass

import asyncpg

from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.settings import Settings

sql = statements(__package__)

_RECENT_JOBS = 20_000


@dataclass(frozen=True)
class Remaining:
    """remaining_position_days: owed by positions that neither wait for data nor failed. The other two are None when nothing can
    be said: no jobs are recorded, no scheduler is alive, or a correction is queued whose reach is not counted yet."""

    remaining_position_days: int
    rows_per_second: float | None
    estimated_seconds: float | None


async def remaining(database: Connections, settings: Settings) -> Remaining:
    """What is left, as of one moment."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        owed = await sql("due_work").row(connection, lease_seconds=settings.lease_seconds)
        assert owed is not None
        days, positions = owed["days"], owed["positions"]
        if not positions:
            return Remaining(0, None, None if owed["is_queued"] else 0.0)
        speed = await throughput(connection, days / positions, settings)
    if speed is None or owed["is_queued"] or not owed["is_led"]:
        return Remaining(days, None, None)
    return Remaining(days, float(speed["rows_per_second"]), days / float(speed["rows_per_second"]))


async def throughput(
    connection: Connection, rows_per_job: float, settings: Settings
) -> asyncpg.Record | None:
    """The speed of the jobs done last, of about `rows_per_job` rows where there are such: only_like (bool), jobs,
    rows_written, rows_per_job, rows_per_second; or None when no finished job is recorded."""
    return await sql("throughput").row(
        connection,
        rows=rows_per_job,
        most_jobs=_RECENT_JOBS,
        most_seconds=settings.task_deadline_seconds,
    )
