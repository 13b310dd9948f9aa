-- The incoming prices that break a rule about stored data. :must_exist is true in a file of
-- corrections: it replaces prices, and does not add any.
-- For each rule its first five rows in the order of the input, with the number of all.
WITH problem AS (
    SELECT 1 AS rule, 'unknown_reference' AS kind, 'security_id' AS column_name,
           'unknown security' AS hint, row_no, security_id AS value
    FROM incoming i
    WHERE security_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM instruments r WHERE r.security_id = i.security_id)
    UNION ALL
    SELECT 2, 'unknown_reference', 'currency', 'unknown currency', row_no, currency
    FROM incoming i
    WHERE currency IS NOT NULL
      AND NOT EXISTS (SELECT FROM currencies r WHERE r.currency = i.currency)
    UNION ALL
    SELECT 3, 'multiplier_missing', 'security_id',
           'quoted PER_CONTRACT, and the instrument has no contract_multiplier',
           row_no, security_id
    FROM incoming i
    WHERE quote_basis = 'PER_CONTRACT'
      AND EXISTS (SELECT FROM instruments r
                  WHERE r.security_id = i.security_id AND r.contract_multiplier IS NULL)
    UNION ALL
    SELECT 4, 'not_stored', 'price_date',
           'no price is stored for that date: load it with `revalue load prices`',
           row_no, price_date::text
    FROM incoming i
    WHERE :must_exist::boolean AND price_date IS NOT NULL
      AND NOT EXISTS (SELECT FROM market_prices r
                      WHERE r.security_id = i.security_id AND r.price_date = i.price_date)
)
SELECT rule, kind, column_name, hint, row_no, value, count
FROM (
    SELECT *, count(*) OVER (PARTITION BY rule) AS count,
           row_number() OVER (PARTITION BY rule ORDER BY row_no) AS place
    FROM problem
) numbered
WHERE place <= 5
ORDER BY rule, row_no
