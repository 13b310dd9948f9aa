-- The business dates that are opened, under the number of their calendar. Nothing is valued on a
-- later one, and no age is counted across it.
SELECT c.calendar_no, b.business_date AS date
FROM business_dates b
JOIN calendars c USING (calendar_id)
WHERE b.business_date <= c.opened_through
