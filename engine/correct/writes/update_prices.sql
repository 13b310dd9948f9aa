-- Update the stored prices that differ from the incoming ones of some pages. The database triggers
-- of the table record what that corrects.
--
-- The subquery is lateral and locks, so that it is one index look-up per incoming price: a join
-- would read all stored prices for each range of incoming ones. The incoming rows are read in the
-- order of their keys, and so the stored ones are locked: two loads do not deadlock. A price that
-- is equal is not locked: nothing is written for it.
UPDATE market_prices t
SET price = c.price, currency = c.currency, quote_basis = c.quote_basis
FROM (
    SELECT s.row_id, i.price, i.currency, i.quote_basis
    FROM incoming i
    CROSS JOIN LATERAL (
        SELECT p.ctid AS row_id
        FROM market_prices p
        WHERE p.security_id = i.security_id AND p.price_date = i.price_date
          AND (p.price, p.currency, p.quote_basis)
              IS DISTINCT FROM (i.price, i.currency, i.quote_basis)
        LIMIT 1
        FOR NO KEY UPDATE
    ) s
    WHERE i.ctid >= format('(%s,0)', :first_page::bigint)::tid
      AND i.ctid < format('(%s,0)', :next_page::bigint)::tid
) c
WHERE t.ctid = c.row_id
