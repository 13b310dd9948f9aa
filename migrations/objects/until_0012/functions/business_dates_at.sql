-- Return the business dates that were opened at known_at; NULL: those that are opened now.
--
-- A date is opened if its calendar is opened through it or a later one. At a past time it had to be
-- loaded, too. Dates and openings without a moment are older than moments are, so they were known
-- at all times. Openings of one calendar follow each other, because each locks its row: the last
-- one that was known is the one in force.
CREATE OR REPLACE FUNCTION business_dates_at(known_at timestamptz)
RETURNS TABLE (calendar_id text, business_date date)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT b.calendar_id, b.business_date
    FROM calendars c
    CROSS JOIN LATERAL (
        SELECT c.opened_through
        WHERE known_at IS NULL
        UNION ALL
        (SELECT p.opened_through
         FROM calendar_openings p LEFT JOIN moments m ON m.moment_id = p.moment_id
         WHERE known_at IS NOT NULL AND p.calendar_id = c.calendar_id
           AND COALESCE(m.at, '-infinity') <= known_at
         ORDER BY p.opening_id DESC
         LIMIT 1)
    ) o
    JOIN business_dates b
      ON b.calendar_id = c.calendar_id AND b.business_date <= o.opened_through
    LEFT JOIN moments m ON m.moment_id = b.moment_id
    WHERE known_at IS NULL OR COALESCE(m.at, '-infinity') <= known_at;
END;
