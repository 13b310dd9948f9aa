-- Insert the incoming rates of some pages that are new. The database triggers of the table record
-- what that corrects.
--
-- In the order of their keys, so that two loads do not deadlock. A rate that is stored already is
-- left to update_fx_rates.
INSERT INTO fx_rates (base_currency, quote_currency, rate_date, rate)
SELECT base_currency, quote_currency, rate_date, rate
FROM incoming
WHERE ctid >= format('(%s,0)', :first_page::bigint)::tid
  AND ctid < format('(%s,0)', :next_page::bigint)::tid
ORDER BY base_currency, quote_currency, rate_date
ON CONFLICT DO NOTHING
