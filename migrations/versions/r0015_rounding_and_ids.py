"""Let the planner put the rounding of price_effect in place of its call, and bound ids.

Readers of position_valuations spent most of their time in the function. Ids have at most 200
characters, as in the API and in files: it could not page past a longer one. upgrade() names the
rows that break this.
"""

from alembic import op

from revalue.migrations import objects

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

IDS = {
    "calendars": "calendar_id",
    "portfolios": "portfolio_id",
    "instruments": "security_id",
}

ROWS_IN_THE_WAY = """
    DO $$
    DECLARE
        found text;
    BEGIN
        SELECT string_agg(format('%s of %s characters (%s...)', kind, length, beginning), ', ')
        INTO found
        FROM (
            SELECT kind, char_length(id) AS length, left(id, 20) AS beginning
            FROM (
                SELECT 'calendar' AS kind, calendar_id AS id FROM calendars
                UNION ALL SELECT 'portfolio', portfolio_id FROM portfolios
                UNION ALL SELECT 'security', security_id FROM instruments
            ) named
            WHERE char_length(id) > 200
            ORDER BY kind, id
            LIMIT 5
        ) listed;
        IF found IS NOT NULL THEN
            RAISE EXCEPTION 'ids are in the way of the migration to 0015: %', found
                USING ERRCODE = 'restrict_violation',
                      HINT = 'Ids have at most 200 characters. Delete these rows, load them under '
                             'shorter ids, then migrate again.';
        END IF;
    END $$
"""


def upgrade() -> None:
    op.execute(ROWS_IN_THE_WAY)
    for table, column in IDS.items():
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {column}_of_at_most_200_characters "
            f"CHECK (char_length({column}) <= 200)"
        )
    objects.apply("0015", "functions/round_half_even")


def downgrade() -> None:
    objects.apply("0014", "functions/round_half_even")
    for table, column in IDS.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {column}_of_at_most_200_characters")
