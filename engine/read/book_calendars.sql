-- All calendars, also those without a business date.
SELECT calendar_id FROM calendars ORDER BY calendar_id
