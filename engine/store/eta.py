"""How long the work that is owed will take: what is left, by the speed of the jobs done last."""

from dataclasses import dataclass

from engine.settings import Settings
from engine.store.database import Database
from engine.store.statement import sql

_RECENT_JOBS = 20_000


@dataclass(frozen=True)
class Remaining:
    """remaining_position_days: owed by keys that neither wait for data nor failed. The other two are None when nothing can
    be said: no jobs are recorded, no scheduler is alive, or a correction is queued whose reach is not counted yet."""

    remaining_position_days: int
    rows_per_second: float | None
    estimated_seconds: float | None


async def remaining(database: Database, settings: Settings) -> Remaining:
    """What is left, as of one moment."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        owed = await sql("eta_owed").row(connection, lease_seconds=settings.lease_seconds)
        assert owed is not None
        days, keys = owed["days"], owed["keys"]
        if not keys:
            return Remaining(0, None, None if owed["is_queued"] else 0.0)
        speed = await sql("throughput").row(
            connection, rows=days / keys, most_jobs=_RECENT_JOBS, most_seconds=settings.task_deadline_seconds
        )
    if speed is None or owed["is_queued"] or not owed["is_led"]:
        return Remaining(days, None, None)
    return Remaining(days, float(speed["rows_per_second"]), days / float(speed["rows_per_second"]))
