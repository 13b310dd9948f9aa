-- The incoming instruments that break a rule about stored data.
-- For each rule its first five rows in the order of the input, with the number of all.
WITH problem AS (
    SELECT 1 AS rule, 'unknown_reference' AS kind, 'currency' AS column_name,
           'unknown currency' AS hint, row_no, currency AS value
    FROM incoming i
    WHERE currency IS NOT NULL
      AND NOT EXISTS (SELECT FROM currencies r WHERE r.currency = i.currency)
    UNION ALL
    SELECT 2, 'minor_currency', 'currency',
           'a quotation unit, not a currency of its own', row_no, currency
    FROM incoming i
    WHERE EXISTS (SELECT FROM currencies r
                  WHERE r.currency = i.currency AND r.units_per_major > 1)
    UNION ALL
    SELECT 3, 'multiplier_missing', 'contract_multiplier',
           'the security has prices quoted PER_CONTRACT, which need the multiplier',
           row_no, security_id
    FROM incoming i
    JOIN instruments r USING (security_id)
    WHERE i.contract_multiplier IS NULL AND r.contract_multiplier IS NOT NULL
      AND EXISTS (SELECT FROM market_prices m
                  WHERE m.security_id = i.security_id AND m.quote_basis = 'PER_CONTRACT')
)
SELECT rule, kind, column_name, hint, row_no, value, count
FROM (
    SELECT *, count(*) OVER (PARTITION BY rule) AS count,
           row_number() OVER (PARTITION BY rule ORDER BY row_no) AS place
    FROM problem
) numbered
WHERE place <= 5
ORDER BY rule, row_no
