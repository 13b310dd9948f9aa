-- Give the prices that a load has replaced their values of before. The database triggers record the
-- correction.
UPDATE market_prices p
SET price = r.old_price, currency = r.old_currency, quote_basis = r.old_quote_basis
FROM reverted r
WHERE p.security_id = r.security_id AND p.price_date = r.price_date
  AND r.had_before AND r.had_after AND NOT r.is_later
