-- Insert the rates that a load has removed: it has taken back another one. The database triggers
-- record the correction. What another session has stored meanwhile stays; the caller counts.
INSERT INTO fx_rates (base_currency, quote_currency, rate_date, rate)
SELECT base_currency, quote_currency, rate_date, old_rate
FROM reverted
WHERE had_before AND NOT had_after AND NOT is_later
ORDER BY base_currency, quote_currency, rate_date
ON CONFLICT DO NOTHING
