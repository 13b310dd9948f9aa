-- Record the quotation currencies of updated prices, and the correction that the updates are, in
-- runs and batches like inserted prices (on_prices_inserted).
--
-- An update that writes the same values is no correction. One that moves a price to another date or
-- security changes the old place and the new one; such prices are never taken for a run.
CREATE OR REPLACE FUNCTION on_prices_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET enable_nestloop = off AS $$
DECLARE
    batch record;
BEGIN
    INSERT INTO security_quote_currencies
    SELECT DISTINCT security_id, currency FROM new_rows ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    FOR batch IN
        WITH changed AS MATERIALIZED (
            SELECT security_id, price_date,
                   was.price IS NULL OR becomes.price IS NULL AS is_moved
            FROM old_rows was FULL JOIN new_rows becomes USING (security_id, price_date)
            WHERE (was.price, was.currency, was.quote_basis)
                  IS DISTINCT FROM (becomes.price, becomes.currency, becomes.quote_basis)
        ), span AS MATERIALIZED (
            SELECT s.security_id, s.first, s.last,
                   s.has_moved OR s.count > 1 AND s.count <> (
                       SELECT count(*)
                       FROM (SELECT FROM market_prices p
                             WHERE p.security_id = s.security_id
                               AND p.price_date BETWEEN s.first AND s.last
                             LIMIT s.count + 1) stored) AS is_interrupted
            FROM (SELECT security_id, min(price_date) AS first, max(price_date) AS last,
                         count(*) AS count, bool_or(is_moved) AS has_moved
                  FROM changed
                  GROUP BY security_id) s
        )
        SELECT array_agg(security_id ORDER BY security_id, first) AS securities,
               array_agg(first ORDER BY security_id, first) AS firsts,
               array_agg(last ORDER BY security_id, first) AS lasts
        FROM (SELECT security_id, first, last,
                     count(*) OVER (ORDER BY security_id) / 20000 AS number
              FROM (SELECT security_id, first, last FROM span WHERE NOT is_interrupted
                    UNION ALL
                    SELECT c.security_id, c.price_date, c.price_date
                    FROM changed c JOIN span s USING (security_id)
                    WHERE s.is_interrupted) runs) numbered
        GROUP BY number
        ORDER BY number
    LOOP
        PERFORM record_price_correction(batch.securities, batch.firsts, batch.lasts);
    END LOOP;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_prices_updated FROM PUBLIC;
