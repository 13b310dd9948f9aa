-- Record the correction that business dates are which were removed from the opened ones.
--
-- What was valued on such a date is withdrawn. A calendar that was opened through it is opened
-- through the date before. Removed dates are kept for readers of the past. The lock on the calendar
-- makes a concurrent opening of the date wait, or makes this statement see it.
CREATE OR REPLACE FUNCTION on_business_dates_removed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    last record;
BEGIN
    PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM removed)
    ORDER BY calendar_id FOR NO KEY UPDATE;
    INSERT INTO removed_business_dates (calendar_id, business_date, moment_id, removed_moment)
    SELECT r.calendar_id, r.business_date, r.moment_id, (SELECT current_moment()) FROM removed r;
    PERFORM record_calendar_correction(r.calendar_id, array_agg(r.business_date), true)
    FROM removed r JOIN calendars c USING (calendar_id)
    WHERE r.business_date <= c.opened_through
    GROUP BY r.calendar_id
    ORDER BY r.calendar_id;
    FOR last IN
        SELECT c.calendar_id, c.opened_through,
               (SELECT max(b.business_date) FROM business_dates b
                WHERE b.calendar_id = c.calendar_id AND b.business_date < c.opened_through)
                   AS before
        FROM calendars c
        JOIN removed r
          ON r.calendar_id = c.calendar_id AND r.business_date = c.opened_through
        ORDER BY c.calendar_id
    LOOP
        IF last.before IS NULL THEN
            RAISE EXCEPTION
                'business date % of calendar % cannot be removed: no other date is opened',
                last.opened_through, last.calendar_id
                USING ERRCODE = 'restrict_violation',
                      HINT = 'Load and open another business date first.';
        END IF;
        UPDATE calendars SET opened_through = last.before WHERE calendar_id = last.calendar_id;
    END LOOP;
    NOTIFY revalue_wake;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_business_dates_removed FROM PUBLIC;
