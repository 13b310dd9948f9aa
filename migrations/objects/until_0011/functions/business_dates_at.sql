-- Return the business dates that were known at known_at; NULL: all of them.
--
-- A date without a moment is older than moments are, so it was known at all times.
CREATE OR REPLACE FUNCTION business_dates_at(known_at timestamptz)
RETURNS TABLE (calendar_id text, business_date date)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT b.calendar_id, b.business_date
    FROM business_dates b LEFT JOIN moments m ON m.moment_id = b.moment_id
    WHERE known_at IS NULL OR COALESCE(m.at, '-infinity') <= known_at;
END;
