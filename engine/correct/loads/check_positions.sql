-- The incoming position records that break a rule about stored data.
-- For each rule its first five rows in the order of the input, with the number of all.
WITH problem AS (
    SELECT 1 AS rule, 'unknown_reference' AS kind, 'portfolio_id' AS column_name,
           'unknown portfolio' AS hint, row_no, portfolio_id AS value
    FROM incoming i
    WHERE portfolio_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM portfolios r WHERE r.portfolio_id = i.portfolio_id)
    UNION ALL
    SELECT 2, 'unknown_reference', 'security_id', 'unknown security', row_no, security_id
    FROM incoming i
    WHERE security_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM instruments r WHERE r.security_id = i.security_id)
)
SELECT rule, kind, column_name, hint, row_no, value, count
FROM (
    SELECT *, count(*) OVER (PARTITION BY rule) AS count,
           row_number() OVER (PARTITION BY rule ORDER BY row_no) AS place
    FROM problem
) numbered
WHERE place <= 5
ORDER BY rule, row_no
