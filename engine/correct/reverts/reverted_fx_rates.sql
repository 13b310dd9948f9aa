-- Make the table of the rates that a load has written or removed, as reverted_prices does.
CREATE TEMP TABLE reverted ON COMMIT DROP AS
WITH kept AS MATERIALIZED (
    SELECT k.is_new, u.*
    FROM loads l
    JOIN replaced_rates k USING (moment_id)
    CROSS JOIN LATERAL unnest(k.bases, k.quotes, k.dates, k.rates)
        AS u (base_currency, quote_currency, rate_date, rate)
    WHERE l.load_id = :load
), written AS MATERIALIZED (
    SELECT base_currency, quote_currency, rate_date, w.rate AS old_rate, n.rate AS new_rate
    FROM (SELECT * FROM kept WHERE NOT is_new) w
    FULL JOIN (SELECT * FROM kept WHERE is_new) n
        USING (base_currency, quote_currency, rate_date)
), stored AS MATERIALIZED (
    SELECT r.base_currency, r.quote_currency, r.rate_date, r.rate
    FROM written w
    JOIN fx_rates r USING (base_currency, quote_currency, rate_date)
    ORDER BY r.base_currency, r.quote_currency, r.rate_date
    FOR UPDATE OF r
)
SELECT w.*, s.rate, w.old_rate IS NOT NULL AS had_before, w.new_rate IS NOT NULL AS had_after,
       s.rate IS DISTINCT FROM w.new_rate AS is_later
FROM written w
LEFT JOIN stored s USING (base_currency, quote_currency, rate_date)
