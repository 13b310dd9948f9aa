-- All business dates, by calendar and date.
SELECT calendar_id, business_date FROM business_dates ORDER BY calendar_id, business_date
