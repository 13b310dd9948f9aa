-- Insert a CALENDAR trigger for business dates that were inserted before the last date of their
-- calendar.
--
-- A new date after the last one opens a business day: nothing stored was wrong. A date between
-- others changes every age that is counted across it, so all later dates are affected. The lock on
-- the calendar makes two writers agree on which of the two cases a date is. A writer with an older
-- snapshot cannot know the last date, so every date counts as a correction.
CREATE OR REPLACE FUNCTION on_business_dates_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM changed)
    ORDER BY calendar_id FOR NO KEY UPDATE;
    INSERT INTO reprocessing_triggers (kind, calendar_id, dates)
    SELECT 'CALENDAR', c.calendar_id, datemultirange(daterange(min(c.business_date), NULL))
    FROM changed c
    LEFT JOIN (SELECT b.calendar_id, max(b.business_date) AS last
               FROM business_dates b LEFT JOIN changed n USING (calendar_id, business_date)
               WHERE n.calendar_id IS NULL AND b.calendar_id IN (SELECT calendar_id FROM changed)
               GROUP BY b.calendar_id) before USING (calendar_id)
    WHERE NOT sees_committed_writes() OR c.business_date < before.last
    GROUP BY c.calendar_id
    ORDER BY c.calendar_id;
    NOTIFY revalue_wake;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_business_dates_inserted FROM PUBLIC;
