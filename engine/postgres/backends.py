"""Database sessions of one process: their name, and ending those of an abandoned process."""

from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_NAME_BYTES = 63  # PostgreSQL cuts a longer application_name


def application_name(role: str, who: str) -> str:
    """Return the application_name by which the database sessions of one process are found."""
    return f"revalue {role} {who}"[-_NAME_BYTES:]


async def terminate_backends(connection: Connection, name: str) -> int:
    """End the database sessions of that name, except this one, and wait until they are gone.

    An abandoned process that is stopped inside a transaction holds its locks until then.

    Returns:
        The number of database sessions ended.
    """
    ended: int = await sql("terminate_backends").value(connection, name=name)
    return ended
