-- Return the business day that is so many after a date (negative: before it) in a calendar; NULL:
-- the calendar has not so many.
CREATE OR REPLACE FUNCTION business_day_after(calendar text, day date, days integer) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN days > 0 THEN (
        SELECT b.business_date FROM business_dates b
        WHERE b.calendar_id = calendar AND b.business_date > day
        ORDER BY b.business_date OFFSET days - 1 LIMIT 1)
    ELSE (
        SELECT b.business_date FROM business_dates b
        WHERE b.calendar_id = calendar AND b.business_date < day
        ORDER BY b.business_date DESC OFFSET -days - 1 LIMIT 1) END;
END;
