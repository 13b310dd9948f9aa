-- The stored rate of a pair and date, locked until the correction commits.
SELECT rate
FROM fx_rates
WHERE base_currency = :base AND quote_currency = :quote AND rate_date = :date
FOR UPDATE
