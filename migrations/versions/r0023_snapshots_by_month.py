"""Partition the snapshots by month, with a primary key that begins with the date.

The rows of a new day, or of a corrected one, are then neighbours in the index: with the position
first, each row was on a page of its own, which PostgreSQL writes whole to its log after a
checkpoint. A closed month is a table of its own, so that autovacuum and REINDEX have nothing to do
for it, and old versions can be pruned a month at a time.

All rows are copied, sorted by date, in this migration's transaction, and readers wait. That takes
about 8 seconds per million rows, and the space of the table and its index once more.
"""

from alembic import op

from revalue.migrations import objects

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

READERS = ("views/dated_snapshots", "views/position_valuations", "functions/snapshots_at")
"""What reads the table, and so belongs to its old form until it is dropped."""

CHANGED = (
    "functions/on_business_dates_inserted",
    "triggers/calendars",
    "functions/grant_revalue_roles",
)


def upgrade() -> None:
    _set_aside()
    op.execute(
        "CREATE TABLE daily_position_snapshots (LIKE former_snapshots INCLUDING CONSTRAINTS) "
        "PARTITION BY RANGE (date)"
    )
    objects.apply(
        revision,
        "views/snapshot_partitions",
        "functions/make_snapshot_partition",
        "functions/make_snapshot_partitions",
        "functions/make_partitions_of_opening",
        *READERS,
        *CHANGED,
    )
    op.execute("SELECT make_snapshot_partitions()")
    # Also for dates that were closed again.
    op.execute(
        "SELECT make_snapshot_partition(day) FROM ("
        "SELECT min(date) AS day FROM former_snapshots GROUP BY date_trunc('month', date)) months"
    )
    _copy_back("date, position_id, epoch")


def downgrade() -> None:
    op.execute("DROP TRIGGER calendar_partitions_made ON calendars")
    objects.apply(down_revision, *CHANGED)
    for function in ("make_partitions_of_opening", "make_snapshot_partitions"):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP FUNCTION make_snapshot_partition")
    op.execute("DROP VIEW snapshot_partitions")
    _set_aside()
    op.execute(
        "CREATE TABLE daily_position_snapshots (LIKE former_snapshots INCLUDING CONSTRAINTS)"
    )
    objects.apply(down_revision, *READERS)
    _copy_back("position_id, date, epoch")


def _set_aside() -> None:
    op.execute("DROP FUNCTION snapshots_at")
    op.execute("DROP VIEW position_valuations, dated_snapshots")
    op.execute("ALTER TABLE daily_position_snapshots RENAME TO former_snapshots")
    op.execute("ALTER INDEX daily_position_snapshots_pkey RENAME TO former_snapshots_pkey")


def _copy_back(key: str) -> None:
    """Move the rows into the new table, and build its index when they are there."""
    op.execute("SET LOCAL work_mem = '256MB'")
    op.execute("SET LOCAL maintenance_work_mem = '256MB'")
    op.execute(
        f"INSERT INTO daily_position_snapshots SELECT * FROM former_snapshots ORDER BY {key}"
    )
    op.execute("DROP TABLE former_snapshots")
    op.execute(f"ALTER TABLE daily_position_snapshots ADD PRIMARY KEY ({key})")
    op.execute("SELECT grant_revalue_roles()")
