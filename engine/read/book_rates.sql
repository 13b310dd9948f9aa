-- All rates, by pair and date.
SELECT base_currency, quote_currency, rate_date, rate
FROM fx_rates
ORDER BY base_currency, quote_currency, rate_date
