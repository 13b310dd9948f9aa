-- The incoming portfolios that break a rule about stored data.
-- For each rule its first five rows in the order of the input, with the number of all.
WITH problem AS (
    SELECT 1 AS rule, 'unknown_reference' AS kind, 'base_currency' AS column_name,
           'unknown currency' AS hint, row_no, base_currency AS value
    FROM incoming i
    WHERE base_currency IS NOT NULL
      AND NOT EXISTS (SELECT FROM currencies r WHERE r.currency = i.base_currency)
    UNION ALL
    SELECT 2, 'minor_currency', 'base_currency',
           'a quotation unit, not a currency of its own', row_no, base_currency
    FROM incoming i
    WHERE EXISTS (SELECT FROM currencies r
                  WHERE r.currency = i.base_currency AND r.units_per_major > 1)
    UNION ALL
    SELECT 3, 'unknown_reference', 'calendar_id', 'unknown calendar', row_no, calendar_id
    FROM incoming i
    WHERE calendar_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM calendars r WHERE r.calendar_id = i.calendar_id)
)
SELECT rule, kind, column_name, hint, row_no, value, count
FROM (
    SELECT *, count(*) OVER (PARTITION BY rule) AS count,
           row_number() OVER (PARTITION BY rule ORDER BY row_no) AS place
    FROM problem
) numbered
WHERE place <= 5
ORDER BY rule, row_no
