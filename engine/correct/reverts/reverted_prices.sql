-- Make the table of the prices that a load has written or removed: as they were before it, as it
-- left them, and whether they were changed since (is_later).
--
-- In a kept row of one security only, what is the same of all its prices stands once.
--
-- The stored prices are locked in the order of their keys, as loads lock them, and what is compared
-- is what they are once they are locked. The load itself is looked up by this statement, too: a
-- prune deletes first the load and then what is kept of it, so all of it is found or nothing.
CREATE TEMP TABLE reverted ON COMMIT DROP AS
WITH kept AS MATERIALIZED (
    SELECT k.is_new, COALESCE(u.security_id, k.security_ids[1]) AS security_id, u.price_date,
           u.price, COALESCE(u.currency, k.currencies[1]) AS currency,
           COALESCE(u.quote_basis, k.quote_bases[1]) AS quote_basis
    FROM loads l
    JOIN replaced_prices k USING (moment_id)
    CROSS JOIN LATERAL unnest(k.security_ids, k.dates, k.prices, k.currencies, k.quote_bases)
        AS u (security_id, price_date, price, currency, quote_basis)
    WHERE l.load_id = :load
), written AS MATERIALIZED (
    SELECT security_id, price_date, w.price AS old_price, w.currency AS old_currency,
           w.quote_basis AS old_quote_basis, n.price AS new_price, n.currency AS new_currency,
           n.quote_basis AS new_quote_basis
    FROM (SELECT * FROM kept WHERE NOT is_new) w
    FULL JOIN (SELECT * FROM kept WHERE is_new) n USING (security_id, price_date)
), stored AS MATERIALIZED (
    SELECT p.security_id, p.price_date, p.price, p.currency, p.quote_basis
    FROM written w
    JOIN market_prices p USING (security_id, price_date)
    ORDER BY p.security_id, p.price_date
    FOR UPDATE OF p
)
SELECT w.*, s.price, s.currency, s.quote_basis, w.old_price IS NOT NULL AS had_before,
       w.new_price IS NOT NULL AS had_after,
       (s.price, s.currency, s.quote_basis)
           IS DISTINCT FROM (w.new_price, w.new_currency, w.new_quote_basis) AS is_later
FROM written w
LEFT JOIN stored s USING (security_id, price_date)
