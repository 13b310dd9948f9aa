-- Insert the incoming prices of some pages that are new. The database triggers of the table record
-- what that corrects.
--
-- The rows lie in the order of their keys, and so they are inserted: two loads do not deadlock, and
-- the index grows page by page. A price that is stored already is left to update_prices.
INSERT INTO market_prices (security_id, price_date, price, currency, quote_basis)
SELECT security_id, price_date, price, currency, quote_basis
FROM incoming
WHERE ctid >= format('(%s,0)', :first_page::bigint)::tid
  AND ctid < format('(%s,0)', :next_page::bigint)::tid
ORDER BY security_id, price_date
ON CONFLICT DO NOTHING
