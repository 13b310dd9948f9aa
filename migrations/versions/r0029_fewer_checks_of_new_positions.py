"""Check new positions and their records with less work, and let the engine number new positions.

The database triggers looked at each new row several times, and locked each position whose records
were inserted, also those that the same transaction had inserted: a third of a first load. A load
now sends new positions with their ids, so that their records can follow at once.
"""

from alembic import op

from revalue.migrations import objects

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

CHANGED = (
    "functions/check_position_numbers",
    "functions/check_record_positions",
    "functions/grant_revalue_roles",
)


def upgrade() -> None:
    objects.apply(revision, *CHANGED)
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    objects.apply(down_revision, *CHANGED)
