-- For each calendar of a portfolio of which something is opened: the calendar days from the last
-- opened business date until today.
SELECT c.calendar_id, current_date - c.opened_through AS age_days
FROM calendars c
WHERE c.opened_through IS NOT NULL
  AND EXISTS (SELECT FROM portfolios f WHERE f.calendar_id = c.calendar_id)
