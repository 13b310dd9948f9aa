"""The record of loads: who has loaded which file when, and what became of its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from revalue.engine.correct.authors import client
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


@dataclass(frozen=True)
class Load:
    """One load that was committed.

    Attributes:
        load_id: its number; a later load has a higher one.
        loaded_at: when it was written, by the database's clock.
        database_user: who was signed in to the database.
        client: which user of the operating system on which machine, as its process said; over HTTP
            the name of the token.
        kind: what was loaded.
        source: the name of the file, as it was given; of data in memory, what they were.
        rows, inserted, changed, unchanged, removed, closed: as for `LoadResult`.
        trigger_ids: the triggers that record what it corrected.
        reverts: the load that it has taken back; None: it was loaded.
        is_revertible: whether it can be taken back (reverts/).
    """

    load_id: int
    loaded_at: datetime
    database_user: str
    client: str
    kind: str
    source: str
    rows: int
    inserted: int
    changed: int
    unchanged: int
    removed: int
    closed: int
    trigger_ids: tuple[int, ...]
    reverts: int | None
    is_revertible: bool


async def keep_replaced(connection: Connection) -> None:
    """Let the database keep what this transaction replaces, so that it can be taken back.

    Call it before the first write. The transaction has to end with `record`.
    """
    await connection.execute("SET LOCAL revalue.keeps_replaced = on")


async def record(
    connection: Connection,
    kind: str,
    source: str,
    rows: int,
    counts: Mapping[str, Any],
    *,
    reverts: int | None = None,
) -> int:
    """Record a load in its transaction.

    Args:
        connection: in the transaction of the load, which has written all else.
        kind: what is loaded.
        source: where it comes from.
        rows: number of rows of the input.
        counts: what became of them, by the names of `LoadResult`.
        reverts: the load that this one takes back.

    Returns:
        The number of the load.
    """
    load_id: int = await sql("record_load").value(
        connection,
        kind=kind,
        # A file name may have bytes that are no text.
        source=source.encode(errors="backslashreplace").decode(),
        client=client(),
        rows=rows,
        trigger=counts.get("trigger_id"),
        reverts=reverts,
        **{name: counts.get(name, 0) for name in _COUNTS},
    )
    return load_id


_COUNTS = ("inserted", "changed", "unchanged", "removed", "closed")


async def list_loads(
    database: Connections, *, kind: str | None = None, most: int, before: int | None = None
) -> list[Load]:
    """Return the newest loads, of one kind or of all.

    Args:
        database: the database.
        kind: a Kind; None: all.
        most: how many, at most.
        before: only those that are older than this load. None: all.
    """
    async with database.connection() as connection:
        rows = await sql("list_loads").fetch(connection, kind=kind, most=most, before=before)
    return [Load(**{**row, "trigger_ids": tuple(row["trigger_ids"])}) for row in rows]
