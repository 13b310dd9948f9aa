-- Return the business dates that were opened at known_at; NULL: those that are opened now.
--
-- A date is opened if its calendar is opened through it or a later one. At a past time it had to be
-- loaded, too, and not yet removed again. Dates and openings without a moment are older than
-- moments are, so they were known at all times.
CREATE OR REPLACE FUNCTION business_dates_at(known_at timestamptz)
RETURNS TABLE (calendar_id text, business_date date)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.calendar_id, b.business_date
    FROM calendars c JOIN business_dates b USING (calendar_id)
    WHERE known_at IS NULL AND b.business_date <= c.opened_through
    UNION ALL
    SELECT c.calendar_id, d.business_date
    FROM (
        SELECT k.calendar_id, opened_through_at(k.calendar_id, known_at) AS opened_through
        FROM calendars k
        WHERE known_at IS NOT NULL
    ) c
    JOIN (
        SELECT b.calendar_id, b.business_date, b.moment_id, NULL::bigint AS removed_moment
        FROM business_dates b
        UNION ALL
        SELECT r.calendar_id, r.business_date, r.moment_id, r.removed_moment
        FROM removed_business_dates r
    ) d ON d.calendar_id = c.calendar_id AND d.business_date <= c.opened_through
    LEFT JOIN moments m ON m.moment_id = d.moment_id
    LEFT JOIN moments r ON r.moment_id = d.removed_moment
    WHERE known_at IS NOT NULL AND COALESCE(m.at, '-infinity') <= known_at
      AND (d.removed_moment IS NULL OR r.at > known_at);
END;
