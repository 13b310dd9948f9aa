-- All business dates, by calendar and date; see unusable_rows about the limits.
SELECT calendar_id, business_date
FROM business_dates
WHERE business_date BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
ORDER BY calendar_id, business_date
