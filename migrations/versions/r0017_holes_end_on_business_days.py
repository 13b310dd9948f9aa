"""Let holes end on business days: what was left of a hole could be a weekend, for ever."""

from alembic import op

from revalue.migrations import objects

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    objects.apply("0017", "functions/trimmed_holes")
    op.execute(
        """
        UPDATE position_state SET holes = trimmed_holes(calendar_no, holes)
        WHERE NOT isempty(holes) AND holes <> trimmed_holes(calendar_no, holes)
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION trimmed_holes")
