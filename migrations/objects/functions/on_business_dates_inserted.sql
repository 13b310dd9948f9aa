-- Record the correction that business dates are which were inserted among the opened ones, and make
-- partitions for their snapshots.
--
-- A date after calendars.opened_through is not valued yet, so it corrects nothing, however many
-- years ahead it is. The lock on the calendar makes this statement and an opening agree on which of
-- the two a date is; with an older snapshot, the lock fails if the calendar was changed.
CREATE OR REPLACE FUNCTION on_business_dates_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM changed)
    ORDER BY calendar_id FOR NO KEY UPDATE;
    PERFORM record_calendar_correction(n.calendar_id, array_agg(n.business_date), false)
    FROM changed n JOIN calendars c USING (calendar_id)
    WHERE n.business_date <= c.opened_through
    GROUP BY n.calendar_id
    ORDER BY n.calendar_id;
    PERFORM make_snapshot_partitions(n.calendar_id, min(n.business_date) - 1)
    FROM changed n JOIN calendars c USING (calendar_id)
    WHERE n.business_date <= c.opened_through
    GROUP BY n.calendar_id
    ORDER BY n.calendar_id;
    NOTIFY revalue_wake;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_business_dates_inserted FROM PUBLIC;
