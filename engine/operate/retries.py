"""Retry jobs on request: those that failed for good, and those that wait for data."""

from collections.abc import Collection
from dataclasses import dataclass

from revalue.engine.operate.job_list import require_jobs
from revalue.engine.operate.status import list_failed_jobs, retry_jobs
from revalue.engine.postgres.database import Connections


@dataclass(frozen=True)
class Retried:
    """What a retry did.

    Attributes:
        requeued: the ids of the jobs whose dates are valued again, in part or as a whole.
        not_requeued: those of the others: they are complete, in flight or superseded.
    """

    requeued: tuple[int, ...]
    not_requeued: tuple[int, ...]


async def retry(database: Connections, job_ids: Collection[int]) -> Retried:
    """Requeue failed or waiting jobs with new attempts; the engine values them when it runs.

    Raises:
        NotFoundError: one of them does not exist; nothing is requeued then.
    """
    await require_jobs(database, list(job_ids))
    return await _retry(database, job_ids)


async def retry_failed(database: Connections) -> Retried:
    """Requeue every job that failed for good and whose dates are still due."""
    return await _retry(database, await list_failed_jobs(database))


async def _retry(database: Connections, job_ids: Collection[int]) -> Retried:
    requeued = await retry_jobs(database, list(job_ids))
    return Retried(tuple(requeued), tuple(sorted(set(job_ids) - set(requeued))))
