-- Update the stored rates that differ from the incoming ones of some pages. The database triggers
-- of the table record what that corrects.
--
-- One index look-up per incoming rate, and locks in the order of the keys, as in update_prices.
UPDATE fx_rates t
SET rate = c.rate
FROM (
    SELECT s.row_id, i.rate
    FROM incoming i
    CROSS JOIN LATERAL (
        SELECT r.ctid AS row_id
        FROM fx_rates r
        WHERE r.base_currency = i.base_currency AND r.quote_currency = i.quote_currency
          AND r.rate_date = i.rate_date AND r.rate <> i.rate
        LIMIT 1
        FOR NO KEY UPDATE
    ) s
    WHERE i.ctid >= format('(%s,0)', :first_page::bigint)::tid
      AND i.ctid < format('(%s,0)', :next_page::bigint)::tid
) c
WHERE t.ctid = c.row_id
