"""Limits of instruments for moves of prices, and confirmations of prices and rates that moved far.

A confirmation is of one value: a corrected one is told again. It is withdrawn and not deleted, and
both have the moment of their transaction, so that a list as of an earlier time stays what it was.
"""

from alembic import op

from revalue.migrations import objects

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE instruments ADD COLUMN move_limit_percent numeric(10, 4)
            CONSTRAINT move_limit_is_not_negative
            CHECK (move_limit_percent >= 0 AND move_limit_percent <> 'NaN')
        """
    )
    op.execute(
        """
        CREATE TABLE confirmations (
            confirmation_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            kind             text NOT NULL CHECK (kind IN ('PRICE', 'RATE')),
            subject          text NOT NULL,
            date             date NOT NULL,
            value            numeric(38, 18) NOT NULL CHECK (value <> 'NaN'),
            confirmed_moment bigint NOT NULL DEFAULT current_moment(),
            database_user    text NOT NULL DEFAULT session_user,
            confirmed_by     text NOT NULL,
            why              text,
            withdrawn_moment bigint,
            withdrawn_by     text,
            CHECK ((withdrawn_moment IS NULL) = (withdrawn_by IS NULL))
        )
        """
    )
    op.execute(
        "CREATE UNIQUE INDEX confirmation_in_force ON confirmations (kind, subject, date) "
        "WHERE withdrawn_moment IS NULL"
    )
    op.execute("CREATE INDEX confirmations_by_date ON confirmations (date)")
    objects.apply(revision, "functions/grant_revalue_roles")
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    objects.apply(down_revision, "functions/grant_revalue_roles")
    op.execute("DROP TABLE confirmations")
    op.execute("ALTER TABLE instruments DROP COLUMN move_limit_percent")
