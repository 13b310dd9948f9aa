"""Restate every day whose rates became too old by business dates that were put in.

Two kinds of days had kept their old values: those after five or more business dates that one
statement put in, whose rates are older than all of them; and those after a date that was put in by
a transaction whose snapshot is older than a change of a price or rate.
"""

from revalue.migrations import objects

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    objects.apply("0016", "functions/record_calendar_correction")


def downgrade() -> None:
    objects.apply("0015", "functions/record_calendar_correction")
