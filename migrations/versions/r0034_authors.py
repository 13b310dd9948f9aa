"""Who has made a correction and why, and the answers to requests that must not be done twice.

The columns are filled by their defaults, from the settings of the transaction that says who makes
the correction (sign.sql): no database trigger has to know of them. The defaults are set after the
columns are added, so that nobody is named for the corrections of before.
"""

from alembic import op

from revalue.migrations import objects

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE reprocessing_triggers
            ADD COLUMN database_user text, ADD COLUMN who text, ADD COLUMN why text
        """
    )
    op.execute(
        """
        ALTER TABLE reprocessing_triggers
            ALTER COLUMN database_user SET DEFAULT session_user,
            ALTER COLUMN who SET DEFAULT NULLIF(current_setting('revalue.who', true), ''),
            ALTER COLUMN why SET DEFAULT NULLIF(current_setting('revalue.why', true), '')
        """
    )
    op.execute(
        """
        CREATE TABLE request_answers (
            who         text NOT NULL,
            request_key text NOT NULL,
            fingerprint bytea NOT NULL,
            answered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            answer      text NOT NULL,
            PRIMARY KEY (who, request_key)
        )
        """
    )
    op.execute("CREATE INDEX request_answers_by_time ON request_answers (answered_at)")
    objects.apply(revision, "functions/grant_revalue_roles")
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    objects.apply(down_revision, "functions/grant_revalue_roles")
    op.execute("DROP TABLE request_answers")
    op.execute(
        "ALTER TABLE reprocessing_triggers DROP COLUMN database_user, DROP COLUMN who, "
        "DROP COLUMN why"
    )
