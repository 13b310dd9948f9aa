-- Delete a stored rate. A database trigger records the correction.
DELETE FROM fx_rates
WHERE base_currency = :base AND quote_currency = :quote AND rate_date = :date
