-- Replace a stored rate. A database trigger records the correction.
UPDATE fx_rates SET rate = :rate
WHERE base_currency = :base AND quote_currency = :quote AND rate_date = :date
