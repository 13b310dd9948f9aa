-- Insert one PRICE trigger per security for the given changed prices, with the dates they affect.
--
-- A price of date d is carried forward until the day before the next price, so that is its reach.
-- The last changed price of a security reaches to the next stored price, or is open-ended. If the
-- next price has changed too, its own reach continues from there. Therefore the ranges between
-- neighbours among "stored or changed" prices add up to the whole reach, without one search per
-- row.
--
-- The lock on the instrument serialises the writers of one security: each must see the dates of the
-- others to know where its reach ends. A writer with an older snapshot cannot see them even then,
-- so its reach is open-ended.
CREATE OR REPLACE FUNCTION record_price_correction(securities text[], dates date[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(securities) = 0 THEN
        RETURN;
    END IF;
    PERFORM 1 FROM instruments
    WHERE security_id = ANY (securities) ORDER BY security_id FOR NO KEY UPDATE;
    WITH changed AS (
        SELECT c.security_id, c.price_date
        FROM unnest(securities, dates) AS c (security_id, price_date)
    ), span AS MATERIALIZED (
        SELECT c.security_id, min(c.price_date) AS first, max(c.price_date) AS last
        FROM changed c GROUP BY 1
    ), neighbours AS (
        SELECT security_id, price_date, bool_or(has_changed) AS has_changed
        FROM (SELECT security_id, price_date, true AS has_changed FROM changed
              UNION ALL
              SELECT p.security_id, p.price_date, false
              FROM span s JOIN market_prices p USING (security_id)
              WHERE p.price_date > s.first AND p.price_date < s.last) dates
        GROUP BY 1, 2
    ), reaches AS (
        SELECT security_id, price_date, has_changed,
               lead(price_date) OVER (PARTITION BY security_id ORDER BY price_date) AS next
        FROM neighbours
    )
    INSERT INTO reprocessing_triggers (kind, security_id, moment_id, dates)
    SELECT 'PRICE', s.security_id, (SELECT current_moment()),
           range_agg(daterange(
               r.price_date,
               CASE WHEN sees_committed_writes()
                    THEN COALESCE(r.next, (SELECT min(p.price_date) FROM market_prices p
                                           WHERE p.security_id = s.security_id
                                             AND p.price_date > s.last)) END))
    FROM span s JOIN reaches r USING (security_id)
    WHERE r.has_changed
    GROUP BY s.security_id
    ORDER BY s.security_id;
    NOTIFY revalue_wake;
END $$;

REVOKE ALL ON FUNCTION record_price_correction FROM PUBLIC;
