"""Ends the database sessions of a process that is given up: one that stands still inside a transaction holds its locks."""

from revalue.engine.postgres.statement import Connection

_MOST = 63  # what PostgreSQL keeps of an application_name, in bytes


def application_name(role: str, who: str) -> str:
    """The application_name of the sessions of one process, by which they are found."""
    return f"revalue {role} {who}"[-_MOST:]


async def terminate_backends(connection: Connection, name: str) -> int:
    """Ends the sessions of that name but this one, and waits until they are gone; returns how many there were."""
    ended: int = await connection.fetchval(
        """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
           WHERE datname = current_database() AND usename = current_user AND application_name = $1
             AND pid <> pg_backend_pid()""",
        name,
    )
    return ended
