-- Refuse to remove a business date that is opened.
--
-- Positions are valued on it, or are about to be: their snapshots would belong to no business day.
-- Later dates can be removed at any time. The lock on the calendar makes a concurrent opening of
-- the date wait, or makes this statement see it.
CREATE OR REPLACE FUNCTION on_business_dates_removed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    kept record;
BEGIN
    PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM removed)
    ORDER BY calendar_id FOR NO KEY UPDATE;
    SELECT r.calendar_id, r.business_date, c.opened_through INTO kept
    FROM removed r JOIN calendars c USING (calendar_id)
    WHERE r.business_date <= c.opened_through
    ORDER BY r.calendar_id, r.business_date
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION
            'business date % of calendar % cannot be removed: the calendar is opened through %',
            kept.business_date, kept.calendar_id, kept.opened_through
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Only dates after opened_through can be removed.';
    END IF;
    NOTIFY revalue_wake;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_business_dates_removed FROM PUBLIC;
