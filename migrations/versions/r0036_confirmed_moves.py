"""Confirm the move of a price or rate, and not its value alone: keep what it was compared with.

Before, a confirmed price was not told again when the price before it was corrected, though it had
moved otherwise then. Confirmations of before keep that: their values_before are NULL. In an array,
NULL is a price in another currency, which cannot be compared.
"""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE confirmations ADD COLUMN values_before numeric(38, 18)[]
            CONSTRAINT values_before_are_some CHECK (
                cardinality(values_before) > 0
                AND array_position(values_before, 'NaN'::numeric(38, 18)) IS NULL
            )
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE confirmations DROP COLUMN values_before")
