"""Keep the plans of functions that readers call for each position or date.

The sessions of the engine plan each statement anew (plan_cache_mode), because statistics change
fast. Since version 18, PostgreSQL did so for each call of these functions too: 2 ms per position
whose correction is queued.
"""

from revalue.migrations import objects

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

FUNCTIONS = ("functions/hole_reason", "functions/queued_since", "functions/reprocessing_since")


def upgrade() -> None:
    objects.apply(revision, *FUNCTIONS)


def downgrade() -> None:
    objects.apply(down_revision, *FUNCTIONS)
