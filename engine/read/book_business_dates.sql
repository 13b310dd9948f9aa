-- The business dates that are opened, by calendar and date: no row is due on a later one, and no
-- age is counted across it. See unusable_rows about the limits.
SELECT calendar_id, business_date
FROM business_dates_at(NULL)
WHERE business_date BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
ORDER BY calendar_id, business_date
