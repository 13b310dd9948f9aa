"""Keep who has loaded which file when, and what became of its rows.

Each load records itself in its own transaction, by a function: a role that may load can neither
change nor forge what is recorded of others.
"""

from alembic import op

from revalue.migrations import objects

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE loads (
            load_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            loaded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
            database_user text NOT NULL DEFAULT session_user,
            client        text NOT NULL,
            kind          text NOT NULL,
            source        text NOT NULL,
            rows          bigint NOT NULL,
            inserted      bigint NOT NULL,
            changed       bigint NOT NULL,
            unchanged     bigint NOT NULL,
            removed       bigint NOT NULL,
            closed        bigint NOT NULL,
            trigger_ids   bigint[] NOT NULL
        )
        """
    )
    objects.apply(revision, "functions/record_load", "functions/grant_revalue_roles")
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    objects.apply(down_revision, "functions/grant_revalue_roles")
    op.execute("DROP FUNCTION record_load")
    op.execute("DROP TABLE loads")
