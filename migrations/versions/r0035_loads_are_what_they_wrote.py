"""Record of a load only what its transaction has written: what it keeps, and what it takes back.

Before, a user of revalue_writer could record that a load of positions was taken back.
"""

from alembic import op

from revalue.migrations import objects

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX loads_by_moment ON loads (moment_id)")
    objects.apply(revision, "functions/record_load")


def downgrade() -> None:
    op.execute("DROP INDEX loads_by_moment")
    objects.apply(down_revision, "functions/record_load")
