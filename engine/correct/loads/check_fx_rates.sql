-- The incoming rates that break a rule about stored data. :must_exist is true in a file of
-- corrections: it replaces rates, and does not add any.
-- Where the inverse pair has a rate, the hint does not say to load one: it would go before that.
-- For each rule its first five rows in the order of the input, with the number of all.
WITH problem AS (
    SELECT 1 AS rule, 'unknown_reference' AS kind, 'base_currency' AS column_name,
           'unknown currency' AS hint, row_no, base_currency AS value
    FROM incoming i
    WHERE base_currency IS NOT NULL
      AND NOT EXISTS (SELECT FROM currencies r WHERE r.currency = i.base_currency)
    UNION ALL
    SELECT 2, 'unknown_reference', 'quote_currency', 'unknown currency', row_no, quote_currency
    FROM incoming i
    WHERE quote_currency IS NOT NULL
      AND NOT EXISTS (SELECT FROM currencies r WHERE r.currency = i.quote_currency)
    UNION ALL
    SELECT 3, 'minor_currency', 'base_currency',
           'a quotation unit, not a currency of its own', row_no, base_currency
    FROM incoming i
    WHERE EXISTS (SELECT FROM currencies r
                  WHERE r.currency = i.base_currency AND r.units_per_major > 1)
    UNION ALL
    SELECT 4, 'minor_currency', 'quote_currency',
           'a quotation unit, not a currency of its own', row_no, quote_currency
    FROM incoming i
    WHERE EXISTS (SELECT FROM currencies r
                  WHERE r.currency = i.quote_currency AND r.units_per_major > 1)
    UNION ALL
    SELECT 5, 'not_stored', 'rate_date',
           'no rate is stored for that date: load it with `revalue load fx_rates`',
           row_no, rate_date::text
    FROM incoming i
    WHERE :must_exist::boolean AND rate_date IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM fx_rates r
          WHERE r.base_currency = i.base_currency AND r.quote_currency = i.quote_currency
            AND r.rate_date = i.rate_date)
      AND NOT EXISTS (
          SELECT FROM fx_rates r
          WHERE r.base_currency = i.quote_currency AND r.quote_currency = i.base_currency
            AND r.rate_date = i.rate_date)
    UNION ALL
    SELECT 6, 'not_stored', 'rate_date',
           'only the inverse pair has a rate for that date: give the pair in that order',
           row_no, rate_date::text
    FROM incoming i
    WHERE :must_exist::boolean
      AND NOT EXISTS (
          SELECT FROM fx_rates r
          WHERE r.base_currency = i.base_currency AND r.quote_currency = i.quote_currency
            AND r.rate_date = i.rate_date)
      AND EXISTS (
          SELECT FROM fx_rates r
          WHERE r.base_currency = i.quote_currency AND r.quote_currency = i.base_currency
            AND r.rate_date = i.rate_date)
)
SELECT rule, kind, column_name, hint, row_no, value, count
FROM (
    SELECT *, count(*) OVER (PARTITION BY rule) AS count,
           row_number() OVER (PARTITION BY rule ORDER BY row_no) AS place
    FROM problem
) numbered
WHERE place <= 5
ORDER BY rule, row_no
