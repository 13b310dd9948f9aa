"""What the planner of PostgreSQL is told within a transaction."""

from revalue.engine.core.tasks import Task
from revalue.engine.postgres.statement import Connection


async def avoid_nested_loops(connection: Connection, task: Task) -> None:
    """Disable nested loops for this transaction if the task's ids are dense.

    Statistics lag behind new jobs, so the planner would do one index lookup per position, which
    doubles the time.
    """
    await connection.execute(f"SET LOCAL enable_nestloop = {'off' if task.is_dense else 'on'}")
