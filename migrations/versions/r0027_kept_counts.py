"""Keep the last count of all positions, for all processes that ask for it.

One row, which is made of the other tables: it may be deleted at any time.
"""

from alembic import op

from revalue.migrations import objects

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE kept_counts (
            singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
            made_at   timestamptz NOT NULL,
            counts    text NOT NULL
        )
        """
    )
    objects.apply(revision, "functions/grant_revalue_roles")
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    objects.apply(down_revision, "functions/grant_revalue_roles")
    op.execute("DROP TABLE kept_counts")
