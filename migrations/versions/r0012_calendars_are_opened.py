"""Open business days on purpose: calendars.opened_through is the horizon, not the last date.

Until now the last business date of a calendar was its horizon, so a calendar could not be loaded
ahead: the days of next year were due at once.

Existing calendars are opened through their last business date, which was their horizon. These
openings have no moment: which dates were known at a past time then follows from the dates alone, as
before.

Downgrade: the last business date is the horizon again, so dates that are not opened are deleted.
"""

from alembic import op

from revalue.migrations import objects

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

CHANGED = (
    "views/position_status",
    "functions/business_dates_at",
    "functions/on_business_dates_inserted",
    "functions/on_business_dates_removed",
    "functions/grant_revalue_roles",
)


def upgrade() -> None:
    op.execute("ALTER TABLE calendars ADD COLUMN opened_through date")
    # moment_id: NULL: older than openings are, so known at all times.
    op.execute(
        """
        CREATE TABLE calendar_openings (
            opening_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            calendar_id    text NOT NULL REFERENCES calendars,
            opened_through date,
            moment_id      bigint DEFAULT current_moment(),
            opened_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
            opened_by      text NOT NULL DEFAULT session_user
        )
        """
    )
    op.execute(
        "CREATE INDEX calendar_openings_calendar ON calendar_openings (calendar_id, opening_id)"
    )
    op.execute(
        """
        UPDATE calendars c
        SET opened_through = (
            SELECT max(business_date) FROM business_dates b WHERE b.calendar_id = c.calendar_id)
        """
    )
    op.execute(
        """
        INSERT INTO calendar_openings (calendar_id, opened_through, moment_id)
        SELECT calendar_id, opened_through, NULL
        FROM calendars WHERE opened_through IS NOT NULL
        ORDER BY calendar_id
        """
    )
    objects.apply(
        "0012",
        "functions/on_calendar_opened",
        "triggers/calendars",
        "views/calendar_horizons",
        *CHANGED,
    )
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    objects.apply("0011", *CHANGED)
    op.execute("DROP TRIGGER calendar_opened ON calendars")
    op.execute("DROP FUNCTION on_calendar_opened")
    op.execute("DROP VIEW calendar_horizons")
    op.execute(
        """
        DELETE FROM business_dates b
        USING calendars c
        WHERE c.calendar_id = b.calendar_id
          AND (c.opened_through IS NULL OR b.business_date > c.opened_through)
        """
    )
    op.execute("DROP TABLE calendar_openings")
    op.execute("ALTER TABLE calendars DROP COLUMN opened_through")
