SELECT r.rate_date, r.rate,
       (SELECT count(*) FROM business_dates b
        WHERE b.calendar_id = :calendar AND b.business_date > r.rate_date AND b.business_date <= :date) AS age_business_days
FROM fx_rates r
WHERE r.base_currency = :base AND r.quote_currency = :quote AND r.rate_date <= :date
ORDER BY r.rate_date DESC
LIMIT 1
