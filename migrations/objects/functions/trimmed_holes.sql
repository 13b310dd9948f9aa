-- Return the holes of a position on a calendar without the days at their ends that are no business
-- days of it.
--
-- A hole spans the weekend between two business days. What takes one of these out of it must not
-- leave the weekend behind: no data would ever reach it, and the position would wait for ever.
CREATE OR REPLACE FUNCTION trimmed_holes(calendar smallint, holes datemultirange)
RETURNS datemultirange
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT COALESCE(range_agg(daterange(due.first_date, due.last_date, '[]')), '{}')
    FROM calendars c
    CROSS JOIN unnest(holes) AS u (hole)
    CROSS JOIN LATERAL (
        SELECT min(b.business_date) AS first_date, max(b.business_date) AS last_date
        FROM business_dates b
        WHERE b.calendar_id = c.calendar_id
          AND b.business_date >= lower(u.hole) AND b.business_date < upper(u.hole)
    ) due
    WHERE c.calendar_no = calendar AND due.first_date IS NOT NULL;
END;
