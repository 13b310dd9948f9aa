-- The last price of a security before the stored one of a date, if it is quoted as that one is, and
-- the security's own limit for moves, in percent; NULL: the usual one.
SELECT b.price, b.price_date, i.move_limit_percent
FROM market_prices n
JOIN instruments i USING (security_id)
CROSS JOIN LATERAL (
    SELECT m.price, m.price_date, m.currency, m.quote_basis
    FROM market_prices m
    WHERE m.security_id = n.security_id AND m.price_date < n.price_date
    ORDER BY m.price_date DESC
    LIMIT 1
) b
WHERE n.security_id = :security AND n.price_date = :date
  AND (b.currency, b.quote_basis) = (n.currency, n.quote_basis)
