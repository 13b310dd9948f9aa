"""Ids from the sequences of the database."""

from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


async def take_ids(connection: Connection, sequence: str, size: int) -> list[int]:
    """Return `size` ids that nobody else gets, ascending but not always consecutive."""
    ids: list[int] = await sql("take_ids").value(connection, sequence=sequence, size=size)
    return ids
