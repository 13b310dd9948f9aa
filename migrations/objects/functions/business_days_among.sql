-- Return the given dates that are business days of a calendar, and opened.
CREATE OR REPLACE FUNCTION business_days_among(calendar smallint, dates datemultirange)
RETURNS datemultirange
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT COALESCE(range_agg(daterange(b.business_date, b.business_date, '[]')), '{}')
    FROM calendars c
    JOIN business_dates b USING (calendar_id)
    WHERE c.calendar_no = calendar AND b.business_date <= c.opened_through
      AND dates @> b.business_date;
END;
