"""What PostgreSQL's planner is told because it cannot know it."""

from engine.store.statement import Connection
from engine.store.tasks import Task


async def by_ranges(connection: Connection, task: Task) -> None:
    """What follows in the transaction reads the range of the task's keys, where it is dense, and looks none of them up. The
    planner takes new jobs for few, as they lie behind its statistics, and would look up each: twice the time of the rest."""
    await connection.execute(f"SET LOCAL enable_nestloop = {'off' if task.is_dense else 'on'}")
