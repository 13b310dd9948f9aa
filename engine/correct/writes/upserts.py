"""Write validated input: from the temporary table `incoming` into the tables, and count changes."""

from collections.abc import Callable
from typing import Any

from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

# With more new positions than this the planner's statistics of position_state are wrong.
_MANY_POSITIONS = 1_000

_RANGE_ROWS = 200_000


async def upsert(
    connection: Connection, kind: str, rows: int, on_rows: Callable[[int], None]
) -> dict[str, int]:
    """Insert the incoming rows that are new and update those that differ.

    The database triggers of the tables record what that corrects.

    Args:
        connection: in the transaction that has filled `incoming`.
        kind: a Kind other than positions.
        rows: how many rows are incoming.
        on_rows: called with the number of rows that are done.

    Returns:
        The number of rows that were inserted, changed and unchanged.
    """
    if kind in ("prices", "fx_rates"):
        counts = await _upsert_in_ranges(connection, kind, rows, on_rows)
    else:
        if kind == "business_dates":
            await sql("insert_calendars").execute(connection)
        counts = dict(await sql(f"upsert_{kind}").one(connection))
    if counts["inserted"] and kind in ("portfolios", "instruments", "business_dates", "fx_rates"):
        # Readers join these at once. Until autovacuum runs, their queries would be planned for
        # empty tables.
        await connection.execute(f"ANALYZE {kind}")
    return counts


async def _upsert_in_ranges(
    connection: Connection, kind: str, rows: int, on_rows: Callable[[int], None]
) -> dict[str, int]:
    """Write the incoming rows range by range, in the order of their keys.

    The rows that the database triggers of a statement look at then fit into memory. That a range
    may begin within a security changes nothing: the reaches of two statements add up.
    """
    inserted = changed = done = 0
    pages = await sql("incoming_pages").value(connection)
    step = max(1, pages * _RANGE_ROWS // max(1, rows))
    for first in range(0, pages, step):
        within = {"first_page": first, "next_page": first + step}
        count = await sql("count_incoming").value(connection, **within)
        new = await sql(f"insert_{kind}").execute(connection, **within)
        inserted += new
        if new < count:
            changed += await sql(f"update_{kind}").execute(connection, **within)
        done += count
        on_rows(done)
    return {"inserted": inserted, "changed": changed, "unchanged": rows - inserted - changed}


async def allow_records(connection: Connection) -> None:
    """Let this transaction write position records, which the database refuses otherwise."""
    await connection.execute("SET LOCAL revalue.loading_positions = on")


async def analyze_positions(connection: Connection, created: int) -> None:
    """Renew the statistics of position_state if so many new positions make them wrong."""
    if created > _MANY_POSITIONS:
        await connection.execute("ANALYZE position_state")


async def write_histories(connection: Connection, *, replace: bool) -> dict[str, Any]:
    """Write the incoming position records into the histories of their positions.

    What counts is the record in force on each date. If it changes at or before the frontier of a
    position, that is a correction: the position is invalidated. If it changes only after it, that
    is an extension. Records that change neither are stored, and the position is not touched.

    Args:
        connection: in the transaction that has filled `incoming`. A row without a quantity removes
            the record of its date.
        replace: remove the records after the first incoming one of a position that are not given.

    Returns:
        The number of position records that were inserted, changed, unchanged and removed, of
        positions_corrected and positions_extended, and the trigger_id of the corrections (None: no
        position was corrected); and removed_records, the rows of those that were removed.
    """
    await allow_records(connection)
    created = await sql("insert_positions").execute(connection)
    await analyze_positions(connection, created)
    await sql("lock_positions").execute(connection)
    await sql("target_history").execute(connection, replace=replace)
    await connection.execute("ANALYZE target_history")
    await sql("changed_positions").execute(connection)
    await connection.execute("ANALYZE changed_positions")
    counts = await sql("count_changes").one(connection)
    # Without `replace` only a load that is taken back removes any; they are not listed.
    lists_removed = replace and counts["removed"]
    removed = await sql("removed_records").fetch(connection) if lists_removed else []
    corrected = await sql("correct_histories").one(connection)
    if corrected["trigger_id"]:
        await sql("supersede_corrected").execute(connection)
    extended = await sql("extend_histories").value(connection)
    if created:
        await sql("publish_new_positions").execute(connection)
    # These read the epochs that the corrections have raised.
    if counts["changed"] or counts["removed"]:
        await sql("end_records").execute(connection)
    await sql("insert_records").execute(connection)
    await connection.execute("DROP TABLE target_history, changed_positions")
    if corrected["trigger_id"] or extended:
        await connection.execute("NOTIFY revalue_wake")
    return {
        **dict(counts),
        **dict(corrected),
        "positions_extended": extended,
        "removed_records": [dict(each) for each in removed],
    }
