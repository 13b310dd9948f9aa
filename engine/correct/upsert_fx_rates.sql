-- Insert incoming rows that are new and update those that differ; count what became of them. The
-- database triggers of the table record what that corrects.
WITH written AS (
    INSERT INTO fx_rates AS t (base_currency, quote_currency, rate_date, rate)
    SELECT base_currency, quote_currency, rate_date, rate
    FROM incoming
    ORDER BY base_currency, quote_currency, rate_date
    ON CONFLICT (base_currency, quote_currency, rate_date) DO UPDATE SET rate = excluded.rate
    WHERE t.rate <> excluded.rate
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS changed,
       (SELECT count(*) FROM incoming) - count(*) AS unchanged
FROM written
