"""Check what positions and their records refer to once per statement, and not once per row.

A row of position_state that is updated by the transaction that has inserted it, as in the first
load of a position, was checked again: four look-ups of a position, and one of a record, were half
of the time of the load. The database triggers refuse what the foreign keys refused, with the same
locks and the same error code.
"""

from alembic import op

from revalue.migrations import objects

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

CHECKING = "functions/check_position_numbers"
ADDED = ("functions/check_record_positions", "functions/refuse_removal")
TRIGGERS = tuple(
    f"triggers/{table}"
    for table in ("position_state", "position_history", "portfolios", "instruments")
)

ADDED_TRIGGERS = (
    ("position_state", "position_removed"),
    ("position_state", "position_state_truncated"),
    ("position_history", "position_records_checked"),
    ("portfolios", "portfolio_removed"),
    ("portfolios", "portfolio_renamed"),
    ("portfolios", "portfolios_truncated"),
    ("instruments", "instrument_removed"),
    ("instruments", "instrument_renamed"),
)


def upgrade() -> None:
    op.execute(
        "ALTER TABLE position_state DROP CONSTRAINT position_state_portfolio_id_fkey, "
        "DROP CONSTRAINT position_state_security_id_fkey"
    )
    # PostgreSQL has chosen its name, which depends on the way that led to this revision.
    name = op.get_bind().exec_driver_sql(
        "SELECT conname FROM pg_constraint "
        "WHERE conrelid = 'position_history'::regclass AND contype = 'f'"
    )
    op.execute(f"ALTER TABLE position_history DROP CONSTRAINT {name.scalar_one()}")
    objects.apply(revision, CHECKING, *ADDED, *TRIGGERS)


def downgrade() -> None:
    for table, trigger in ADDED_TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.execute("DROP FUNCTION check_record_positions, refuse_removal")
    objects.apply(down_revision, CHECKING, *TRIGGERS)
    op.execute(
        "ALTER TABLE position_state "
        "ADD CONSTRAINT position_state_portfolio_id_fkey FOREIGN KEY (portfolio_id) "
        "REFERENCES portfolios, "
        "ADD CONSTRAINT position_state_security_id_fkey FOREIGN KEY (security_id) "
        "REFERENCES instruments"
    )
    op.execute(
        "ALTER TABLE position_history "
        "ADD CONSTRAINT position_history_position_id_fkey1 FOREIGN KEY (position_id) "
        "REFERENCES position_state"
    )
