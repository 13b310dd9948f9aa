"""Keep the retention floor: the time before which `known_at` is not answered any more.

One row, which `revalue prune` writes before it deletes anything. No row: nothing was ever pruned.
"""

from alembic import op

from revalue.migrations import objects

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

CHANGED = (
    "functions/publications_at",
    "functions/snapshots_at",
    "functions/queued_triggers_at",
    "functions/grant_revalue_roles",
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE retention (
            singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
            floor     timestamptz NOT NULL CHECK (isfinite(floor)),
            raised_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    objects.apply(revision, "functions/require_retained", *CHANGED)
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    # Revision 0025 does not know the floor, and would answer for earlier times with what is left.
    op.execute(
        """
        DO $$
        DECLARE
            kept_since timestamptz := (SELECT floor FROM retention);
        BEGIN
            IF kept_since IS NOT NULL THEN
                RAISE EXCEPTION 'what was shown before % is pruned, and an older revision would '
                                'give wrong answers for it', kept_since
                    USING ERRCODE = 'restrict_violation',
                          HINT = 'Restore a backup from before the prune; or, if nobody asks for '
                                 'earlier times, run DELETE FROM retention first.';
            END IF;
        END $$
        """
    )
    objects.apply(down_revision, *CHANGED)
    op.execute("DROP FUNCTION require_retained")
    op.execute("DROP TABLE retention")
