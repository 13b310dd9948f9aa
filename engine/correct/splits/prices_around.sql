-- The last price of a security before a date, and the first one from then on (NULL: there is none).
SELECT b.price_date AS date_before, b.price AS price_before, b.unit AS unit_before,
       a.price_date AS date_after, a.price AS price_after, a.unit AS unit_after
FROM (SELECT) once
LEFT JOIN LATERAL (
    SELECT price_date, price, concat_ws(' ', currency, quote_basis) AS unit
    FROM market_prices
    WHERE security_id = :security AND price_date < :day::date
    ORDER BY price_date DESC
    LIMIT 1
) b ON true
LEFT JOIN LATERAL (
    SELECT price_date, price, concat_ws(' ', currency, quote_basis) AS unit
    FROM market_prices
    WHERE security_id = :security AND price_date >= :day::date
    ORDER BY price_date
    LIMIT 1
) a ON true
