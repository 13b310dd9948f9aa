-- Delete the prices that a load has added. The database triggers record the correction.
DELETE FROM market_prices p
USING reverted r
WHERE p.security_id = r.security_id AND p.price_date = r.price_date
  AND NOT r.had_before AND NOT r.is_later
