-- All rates, by pair and date; see unusable_rows about the limits.
SELECT base_currency, quote_currency, rate_date, rate
FROM fx_rates
WHERE rate_date BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
ORDER BY base_currency, quote_currency, rate_date
