-- Insert the prices that a load has removed: it has taken back another one. The database triggers
-- record the correction. What another session has stored meanwhile stays; the caller counts.
INSERT INTO market_prices (security_id, price_date, price, currency, quote_basis)
SELECT security_id, price_date, old_price, old_currency, old_quote_basis
FROM reverted
WHERE had_before AND NOT had_after AND NOT is_later
ORDER BY security_id, price_date
ON CONFLICT DO NOTHING
