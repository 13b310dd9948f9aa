-- The last stored rate of a pair before a date.
SELECT rate, rate_date
FROM fx_rates
WHERE base_currency = :base AND quote_currency = :quote AND rate_date < :date::date
ORDER BY rate_date DESC
LIMIT 1
