"""Sizes of all tables of a database, from its catalog: partitions are part of their table."""

from dataclasses import dataclass
from typing import Any

SNAPSHOTS = "daily_position_snapshots"

# Tables of the baselines hold copies of the engine's rows.
_SIZES = """
    SELECT t.name, sum(pg_table_size(t.oid))::bigint AS table_bytes,
        sum(pg_indexes_size(t.oid))::bigint AS index_bytes,
        array_agg(t.oid::regclass::text) AS parts
    FROM (
        SELECT c.oid, COALESCE(pg_partition_root(c.oid), c.oid)::regclass::text AS name
        FROM pg_class c
        WHERE c.relkind = 'r' AND c.relpersistence <> 't'
            AND c.relnamespace = current_schema()::regnamespace) t
    WHERE NOT starts_with(t.name, 'baseline_')
    GROUP BY t.name
    ORDER BY sum(pg_total_relation_size(t.oid)) DESC, t.name"""


@dataclass(frozen=True)
class Size:
    """What a table takes.

    Attributes:
        table_bytes: of the table, its TOAST and its maps.
        index_bytes: of all its indexes.
        rows: number of rows, if they were counted.
    """

    table_bytes: int
    index_bytes: int
    rows: int | None = None

    @property
    def bytes(self) -> int:
        """The table and its indexes."""
        return self.table_bytes + self.index_bytes


async def table_sizes(connection: Any, *, counted: bool = False) -> dict[str, Size]:
    """Return the size of each table, the largest first.

    Args:
        counted: whether to count the rows, too, which reads all of them.
    """
    found = {}
    for row in await connection.fetch(_SIZES):
        rows = None
        if counted:
            rows = sum(
                [await connection.fetchval(f"SELECT count(*) FROM {part}") for part in row["parts"]]
            )
        found[row["name"]] = Size(row["table_bytes"], row["index_bytes"], rows)
    return found


def kept(before: dict[str, Size], after: dict[str, Size]) -> dict[str, int]:
    """Return by how many bytes each table grew that has more rows than before.

    Rows that are updated in place, or added and deleted again, leave room that is used again: what
    their tables grew by is not kept for ever.
    """
    none = Size(0, 0, 0)
    return {
        name: size.bytes - before.get(name, none).bytes
        for name, size in after.items()
        if (size.rows or 0) > (before.get(name, none).rows or 0)
    }


def others_per_snapshot_byte(sizes: dict[str, Size]) -> float:
    """Return how many bytes all other tables take for one byte of snapshots."""
    rest = sum(size.bytes for name, size in sizes.items() if name != SNAPSHOTS)
    return rest / sizes[SNAPSHOTS].bytes
