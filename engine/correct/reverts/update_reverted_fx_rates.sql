-- Give the rates that a load has replaced their values of before. The database triggers record the
-- correction.
UPDATE fx_rates t
SET rate = r.old_rate
FROM reverted r
WHERE t.base_currency = r.base_currency AND t.quote_currency = r.quote_currency
  AND t.rate_date = r.rate_date AND r.had_before AND r.had_after AND NOT r.is_later
