"""Move 5, apply, and what becomes of jobs that did not complete: deferred, released, superseded, recovered."""

from collections.abc import Sequence
from dataclasses import dataclass

from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.backends import application_name, terminate_backends
from revalue.engine.postgres.database import Database, avoid_nested_loops
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

ALONE_AFTER_DEATHS = 5
"""Its process died with a job that often: from then on it has a task of its own, and what dies with it dies of it."""


@dataclass(frozen=True)
class Waits:
    """Mean seconds before a failed attempt is made again (doubled each time) and before missing data is looked for again."""

    retry_seconds: float
    recheck_seconds: float


async def apply(term: Term, tasks: Sequence[Task], waits: Waits) -> None:
    """One transaction: pending shrinks by what the tasks valued, complete positions are published, the rest is deferred.

    Applying a task twice changes nothing: dates come back into pending only under a new epoch.
    """
    runs = _runs(tasks)
    async with term.transaction("apply") as connection:
        await sql("defer_tasks").execute(
            connection,
            **runs,
            retry_seconds=waits.retry_seconds,
            recheck_seconds=waits.recheck_seconds,
        )
        await sql("supersede_fenced").execute(connection, **runs)
        for task in tasks:
            await avoid_nested_loops(connection, task)
            await sql("apply_task").execute(connection, **task.parameters)


async def release(
    term: Term,
    task: Task,
    waits: Waits,
    *,
    reason: str,
    worker: str | None = None,
    most_deaths: int | None = None,
) -> int:
    """The attempt is over: what it committed is applied, what it did not finish is free again, uncharged.

    `most_deaths`: given when its process died; a job that this befell so often fails, with a dead letter. Returns how many did.
    `worker`: the name of the valuer that is lost. Its sessions are ended first, for it may stand still with its jobs locked.
    """
    async with term.transaction("release") as connection:
        if worker is not None:
            await terminate_backends(connection, application_name("valuer", worker))
        failed: int = await sql("release_task").value(
            connection,
            task=task.task_id,
            first_job=task.first_job_id,
            last_job=task.last_job_id,
            reason=reason,
            most_deaths=most_deaths,
        )
    await apply(term, [task], waits)
    return failed


async def recover(term: Term, known: Sequence[Task] = ()) -> None:
    """What a scheduler does first, and after it lost its connection: results that nobody applied are applied, and attempts
    that it does not know of are released. Those are of earlier terms, or were begun by a commit whose answer was lost.
    """
    async with term.transaction("recover") as connection:
        if not known:
            await sql("supersede_stale").execute(connection)
        await sql("release_all").execute(connection, known=[task.task_id for task in known])
        await sql("apply_all").execute(connection)
        await sql("defer_all").execute(connection)


async def retry_due(term: Term, *, most: int, task_rows: int, capacity: int) -> list[Task]:
    """Takes up to `most` deferred jobs whose time has come, as at most `capacity` new tasks. The others go on waiting."""
    async with term.transaction("retry") as connection:
        if not await sql("retry_is_due").value(connection):
            return []
        rows = await sql("retry_due").fetch(
            connection,
            term=term.number,
            most=most,
            task_days=max(1, task_rows * 7 // 5),
            capacity=capacity,
            alone_after=ALONE_AFTER_DEATHS,
            first_task=await term.take_ids(connection, "valuation_task_ids", capacity),
        )
    return [Task(**{**row, "lane": Lane(row["lane"])}) for row in rows]


async def seconds_to_next_retry(database: Database) -> float | None:
    """Seconds until the next deferred job is due (negative: it is overdue), or None when none is deferred."""
    async with database.connection() as connection:
        seconds: float | None = await sql("next_retry").value(connection)
    return seconds


def _runs(tasks: Sequence[Task]) -> dict[str, list[int]]:
    return {
        "tasks": [task.task_id for task in tasks],
        "first_jobs": [task.first_job_id for task in tasks],
        "last_jobs": [task.last_job_id for task in tasks],
    }
