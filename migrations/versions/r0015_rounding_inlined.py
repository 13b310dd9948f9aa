"""Let the planner put the rounding of price_effect in place of its call.

Readers of position_valuations spent most of their time in the function.
"""

from revalue.migrations import objects

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    objects.apply("0015", "functions/round_half_even")


def downgrade() -> None:
    objects.apply("0014", "functions/round_half_even")
