"""Repeat the portfolio's numbers in position_state, merge triggers, count crashes per job.

History: the present definition of each view, function and trigger is in migrations/objects.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Neither can change while the portfolio has positions (on_portfolio_update), so nothing has to
    # keep them up to date. Two look-ups by the portfolio's id were a tenth of PostgreSQL's work for
    # a corrected day of 100,000 portfolios.
    op.execute(
        "ALTER TABLE position_state ADD COLUMN calendar_no smallint, "
        "ADD COLUMN base_currency_no smallint"
    )
    op.execute(
        """
        UPDATE position_state p
        SET calendar_no = c.calendar_no, base_currency_no = b.currency_no
        FROM portfolios f JOIN calendars c USING (calendar_id) JOIN currencies b ON b.currency = f.base_currency
        WHERE f.portfolio_id = p.portfolio_id
        """
    )
    op.execute(
        "ALTER TABLE position_state ALTER COLUMN calendar_no SET NOT NULL, "
        "ALTER COLUMN base_currency_no SET NOT NULL"
    )
    op.execute(
        """
        CREATE FUNCTION check_position_numbers() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            wrong record;
        BEGIN
            PERFORM 1 FROM portfolios WHERE portfolio_id IN (SELECT portfolio_id FROM inserted)
            ORDER BY portfolio_id FOR SHARE;
            SELECT i.portfolio_id, i.security_id INTO wrong
            FROM inserted i
            JOIN portfolios f USING (portfolio_id)
            JOIN calendars c USING (calendar_id)
            JOIN currencies b ON b.currency = f.base_currency
            WHERE (i.calendar_no, i.base_currency_no) <> (c.calendar_no, b.currency_no)
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'position % / % has not the numbers of its portfolio', wrong.portfolio_id, wrong.security_id
                    USING ERRCODE = 'restrict_violation', HINT = 'Take calendar_no and base_currency_no from the portfolio.';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER position_numbers_checked AFTER INSERT ON position_state REFERENCING NEW TABLE AS inserted
        FOR EACH STATEMENT EXECUTE FUNCTION check_position_numbers()
        """
    )
    op.execute(
        """
        CREATE FUNCTION refuse_renumbering() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'a position keeps its portfolio and security, and the numbers that follow from them'
                USING ERRCODE = 'restrict_violation', HINT = 'Close the position and load another.';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER position_keeps_numbers
        BEFORE UPDATE OF portfolio_id, security_id, calendar_no, base_currency_no ON position_state
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_renumbering()
        """
    )
    # A correction updates every position of a page twice. At 60 an eighth of the updates found no
    # free space on the page and wrote to all three indexes.
    op.execute("ALTER TABLE position_state SET (fillfactor = 45)")
    op.execute(
        """
        CREATE FUNCTION merged_reach(triggers bigint[], firsts bigint[])
        RETURNS TABLE (position_id bigint, dates datemultirange, first_trigger_id bigint, last_trigger_id bigint)
        LANGUAGE sql STABLE AS $$
            SELECT r.position_id, m.dates, m.first_trigger_id, m.last_trigger_id
            FROM trigger_reach r
            LEFT JOIN (
                SELECT min(t.trigger_id) AS first_trigger_id, max(t.trigger_id) AS last_trigger_id, range_agg(t.dates) AS dates
                FROM reprocessing_triggers t
                WHERE t.trigger_id = ANY (triggers)
                GROUP BY t.kind, t.security_id, t.base_currency, t.quote_currency, t.calendar_id
            ) m ON m.first_trigger_id = r.trigger_id
            WHERE r.trigger_id = ANY (firsts)
        $$
        """
    )
    op.execute("ALTER TABLE portfolio_valuation_jobs ADD COLUMN deaths smallint NOT NULL DEFAULT 0")
    # For a table without statistics the planner expects a thousand rows, and computes all
    # conversions before it asks whether a trigger needs them. These two tables hardly change, so
    # autovacuum never analyzes them.
    op.execute("ANALYZE valuation_policy")
    op.execute("ANALYZE currencies")


def downgrade() -> None:
    op.execute("ALTER TABLE portfolio_valuation_jobs DROP COLUMN deaths")
    op.execute("DROP FUNCTION merged_reach")
    op.execute("ALTER TABLE position_state SET (fillfactor = 60)")
    op.execute("DROP TRIGGER position_keeps_numbers ON position_state")
    op.execute("DROP TRIGGER position_numbers_checked ON position_state")
    op.execute("DROP FUNCTION check_position_numbers, refuse_renumbering")
    op.execute("ALTER TABLE position_state DROP COLUMN calendar_no, DROP COLUMN base_currency_no")
