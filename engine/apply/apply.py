"""Step 5, apply results, and what happens to unfinished jobs: defer, release, recover, retry."""

from collections.abc import Sequence

from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.backends import application_name, terminate_backends
from revalue.engine.postgres.planner import avoid_nested_loops
from revalue.engine.postgres.sequences import take_ids
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

ALONE_AFTER_DEATHS = 5
"""After this many deaths of its process a span runs alone, so that the next death is its own."""

_CALENDAR_DAYS, _BUSINESS_DAYS = 7, 5  # of a week: deferred jobs are packed by calendar days


async def apply(
    term: Term, tasks: Sequence[Task], *, retry_seconds: float, leave_locked: bool = False
) -> list[Task]:
    """Apply the results of finished attempts, in one transaction.

    What the tasks valued is no longer pending, and dates without a value are holes; complete
    positions are published; unfinished jobs are deferred. Applying a task twice changes nothing:
    its dates become pending again only under a new epoch.

    Args:
        retry_seconds: mean wait before the second attempt of a job.
        leave_locked: leave positions that another session has locked. Otherwise wait for them.

    Returns:
        The tasks that still have locked positions. Apply these tasks again.

    Raises:
        WriteConflictError: another session holds the lock of a position for too long.
    """
    ids = [task.task_id for task in tasks]
    async with term.transaction("apply") as connection:
        await sql("defer_tasks").execute(connection, tasks=ids, retry_seconds=retry_seconds)
        await sql("supersede_tasks").execute(connection, tasks=ids)
        locked = await sql("leave_locked").fetch(connection, tasks=ids) if leave_locked else []
        left = sorted({row["position_id"] for row in locked})
        for task in tasks:
            await avoid_nested_loops(connection, task)
            await sql("apply_task").execute(connection, left=left, **task.parameters)
    incomplete = {row["task_id"] for row in locked}
    return [task for task in tasks if task.task_id in incomplete]


async def release(
    term: Term,
    task: Task,
    *,
    retry_seconds: float,
    reason: str,
    pause_seconds: float = 0,
    worker: str | None = None,
    max_deaths: int | None = None,
    leave_locked: bool = False,
) -> tuple[int, bool]:
    """Abandon an attempt: apply what it committed, and requeue its other jobs without counting it.

    Args:
        reason: stored with the requeued jobs.
        pause_seconds: how long to wait before their next attempt.
        worker: name of the lost valuer. Its database sessions are ended first: a stopped process
            may hold locks on its jobs.
        max_deaths: set if the attempt's process died. A job that has lost its process this many
            times fails, with a dead letter.
        leave_locked: as for `apply`.

    Returns:
        The number of jobs that failed, and whether everything committed has been applied. If not,
        release the attempt again.
    """
    async with term.transaction("release") as connection:
        if worker is not None:
            await terminate_backends(connection, application_name("valuer", worker))
        failed: int = await sql("release_task").value(
            connection,
            task=task.task_id,
            reason=reason,
            pause_seconds=pause_seconds,
            max_deaths=max_deaths,
        )
    left = await apply(term, [task], retry_seconds=retry_seconds, leave_locked=leave_locked)
    return failed, not left


async def recover(
    term: Term, known: Sequence[Task] = (), *, leave_locked: bool = False
) -> list[int]:
    """Apply results that are not applied yet, and requeue the jobs of forgotten attempts.

    A scheduler runs it first, and again after it has lost its connection. Forgotten attempts are
    those of earlier terms, and those created by a commit whose reply was lost.

    Args:
        known: tasks whose results this scheduler still expects.
        leave_locked: leave positions that another session has locked. Otherwise wait for them.

    Returns:
        The positions that were left, for `apply_left`.

    Raises:
        WriteConflictError: another session holds the lock of a position for too long.
    """
    async with term.transaction("recover") as connection:
        await sql("leave_out_task_ids").execute(connection)
        await sql("release_all").execute(connection, known=[task.task_id for task in known])
        await sql("supersede_tasks").execute(connection, tasks=None)
        left = await _apply_open(connection, leave_locked=leave_locked)
        await sql("defer_all").execute(connection)
        await sql("make_partitions").execute(connection)
    return left


async def apply_left(term: Term) -> list[int]:
    """Apply the results that `recover` has left.

    Returns:
        The positions that another session still has locked.
    """
    async with term.transaction("recover") as connection:
        return await _apply_open(connection, leave_locked=True)


async def wait_for_positions(connection: Connection, positions: Sequence[int]) -> None:
    """Wait until no other session has locked any of these positions."""
    await sql("wait_for_positions").execute(connection, positions=list(positions))


async def retry_due(term: Term, *, max_jobs: int, task_rows: int, capacity: int) -> list[Task]:
    """Begin the next attempt of deferred jobs that are due; the others stay deferred.

    Args:
        max_jobs: largest number of jobs to take.
        task_rows: target position-days per task.
        capacity: largest number of tasks to create.
    """
    async with term.transaction("retry") as connection:
        if not await sql("retry_is_due").value(connection):
            return []
        sizes = {
            "max_jobs": max_jobs,
            "task_days": max(1, task_rows * _CALENDAR_DAYS // _BUSINESS_DAYS),
            "alone_after": ALONE_AFTER_DEATHS,
        }
        await sql("split_after_deaths").execute(connection, **sizes)
        new_tasks = await take_ids(connection, "valuation_task_ids", capacity)
        rows = await sql("retry_due").fetch(
            connection, term=term.number, new_tasks=new_tasks, **sizes
        )
    return [Task(**{**row, "lane": Lane(row["lane"])}) for row in rows]


async def _apply_open(connection: Connection, *, leave_locked: bool) -> list[int]:
    """Apply all results that are not applied yet, of this term and of earlier ones.

    Returns:
        The positions that were left, because another session has locked them.
    """
    attempts = await sql("unapplied_tasks").fetch(connection)
    locked = []
    if leave_locked:
        ids = [row["task_id"] for row in attempts]
        locked = await sql("leave_locked").fetch(connection, tasks=ids)
    left = sorted({row["position_id"] for row in locked})
    for row in attempts:
        await sql("apply_task").execute(
            connection,
            task=row["task_id"],
            first_position=row["first_position"],
            last_position=row["last_position"],
            left=left,
        )
    return left
