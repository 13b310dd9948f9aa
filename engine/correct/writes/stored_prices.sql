-- The stored prices of given securities, each between a first and a last date (both included).
--
-- OFFSET keeps it one range of the index for each security: a join reads the whole table.
SELECT p.security_id, p.price_date, p.price, p.currency, p.quote_basis
FROM unnest(:securities::text[], :firsts::date[], :lasts::date[]) AS g (security_id, first, last)
CROSS JOIN LATERAL (
    SELECT *
    FROM market_prices m
    WHERE m.security_id = g.security_id AND m.price_date BETWEEN g.first AND g.last
    OFFSET 0
) p
