-- Every rate of every stored pair, from the last one at or before the first date to the last date.
--
-- The pairs are found in the primary key, and so are the dates of each: what is read does not grow
-- with the rates that are stored. DISTINCT would read all of them; a join with a condition on the
-- first date of each pair looks for it once for each stored rate. OFFSET 0 keeps it from being one.
WITH RECURSIVE pair AS (
    (SELECT base_currency, quote_currency
     FROM fx_rates
     ORDER BY base_currency, quote_currency
     LIMIT 1)
    UNION ALL
    SELECT n.base_currency, n.quote_currency
    FROM pair p
    CROSS JOIN LATERAL (
        SELECT f.base_currency, f.quote_currency
        FROM fx_rates f
        WHERE (f.base_currency, f.quote_currency) > (p.base_currency, p.quote_currency)
        ORDER BY f.base_currency, f.quote_currency
        LIMIT 1
    ) n
), begun AS MATERIALIZED (
    SELECT p.base_currency, p.quote_currency,
           COALESCE((SELECT max(x.rate_date)
                     FROM fx_rates x
                     WHERE x.base_currency = p.base_currency AND x.quote_currency = p.quote_currency
                       AND x.rate_date <= :first_date),
                    :first_date) AS first_date
    FROM pair p
)
SELECT b.currency_no AS base_no, q.currency_no AS quote_no, r.rate_date, r.rate
FROM begun p
CROSS JOIN LATERAL (
    SELECT f.rate_date, f.rate
    FROM fx_rates f
    WHERE f.base_currency = p.base_currency AND f.quote_currency = p.quote_currency
      AND f.rate_date BETWEEN p.first_date AND :last_date
    OFFSET 0
) r
JOIN currencies b ON b.currency = p.base_currency
JOIN currencies q ON q.currency = p.quote_currency
