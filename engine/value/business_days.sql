-- All business dates, under the number of their calendar.
SELECT c.calendar_no, b.business_date AS date
FROM business_dates b
JOIN calendars c USING (calendar_id)
