-- Delete the rates that a load has added. The database triggers record the correction.
DELETE FROM fx_rates t
USING reverted r
WHERE t.base_currency = r.base_currency AND t.quote_currency = r.quote_currency
  AND t.rate_date = r.rate_date AND NOT r.had_before AND NOT r.is_later
