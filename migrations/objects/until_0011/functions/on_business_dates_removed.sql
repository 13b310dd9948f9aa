-- Refuse to remove a business date on which positions are valued.
--
-- The snapshots of such a date would belong to no business day. The lock on the calendar makes a
-- concurrent staging of the date wait, or makes this statement see the frontier that it moved.
CREATE OR REPLACE FUNCTION on_business_dates_removed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    kept record;
BEGIN
    PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM removed)
    ORDER BY calendar_id FOR NO KEY UPDATE;
    SELECT r.calendar_id, r.business_date, count(*) AS positions INTO kept
    FROM removed r
    JOIN portfolios f USING (calendar_id)
    JOIN position_state p
      ON p.portfolio_id = f.portfolio_id AND p.frontier_date >= r.business_date
    GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION
            'business date % of calendar % cannot be closed again: % positions are valued on it',
            kept.business_date, kept.calendar_id, kept.positions
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Only dates after the frontier of every position can be closed again.';
    END IF;
    NOTIFY revalue_wake;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_business_dates_removed FROM PUBLIC;
