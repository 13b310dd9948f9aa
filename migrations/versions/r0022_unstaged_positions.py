"""Note the positions that are not staged, so that nobody has to look for them among all.

An index could not do it: its condition would have the epochs, so that no step of the protocol would
be a HOT update any more (docs/adr/0010).
"""

from alembic import op

from revalue.migrations import objects

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A row: some position from the first to the last of these ids may not be staged.
    op.execute(
        """
        CREATE TABLE unstaged_positions (
            entry_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            first_position_id bigint NOT NULL,
            last_position_id  bigint NOT NULL,
            CHECK (first_position_id <= last_position_id)
        )
        """
    )
    op.execute(
        """
        INSERT INTO unstaged_positions (first_position_id, last_position_id)
        SELECT lower(ids), upper(ids) - 1
        FROM (SELECT unnest(range_agg(int8range(position_id, position_id, '[]'))) AS ids
              FROM position_state
              WHERE staged_epoch <> epoch OR frontier_date IS NULL) runs
        """
    )
    op.execute("CREATE INDEX deferred_jobs_due ON deferred_jobs (not_before)")
    objects.apply(
        revision,
        "functions/note_new_positions",
        "triggers/position_state",
        "functions/grant_revalue_roles",
    )
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    op.execute("DROP TRIGGER positions_noted ON position_state")
    op.execute("DROP FUNCTION note_new_positions")
    objects.apply(down_revision, "triggers/position_state", "functions/grant_revalue_roles")
    op.execute("DROP INDEX deferred_jobs_due")
    op.execute("DROP TABLE unstaged_positions")
