-- Record the quotation currencies of inserted prices, and the correction that the prices are.
--
-- Ordered rows: two writers that insert the same pairs wait for each other and do not deadlock.
--
-- A run is the changed prices of a security between which no unchanged price is stored, as in a
-- load of a history: then as many prices are stored between its ends as were inserted. Where that
-- is not so, each price is a run of its own. No more stored prices are read than were inserted, so
-- the time is linear in the rows of the statement, however many are stored between them.
--
-- A statement may have any number of rows. What is held of them spills to disk, and runs are passed
-- on in batches of whole securities: an aggregate with ORDER BY is never hashed, so that one batch
-- is in memory at a time.
CREATE OR REPLACE FUNCTION on_prices_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET enable_nestloop = off AS $$
DECLARE
    batch record;
BEGIN
    INSERT INTO security_quote_currencies
    SELECT DISTINCT security_id, currency FROM changed ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    FOR batch IN
        WITH span AS MATERIALIZED (
            SELECT s.security_id, s.first, s.last,
                   s.count > 1 AND s.count <> (
                       SELECT count(*)
                       FROM (SELECT FROM market_prices p
                             WHERE p.security_id = s.security_id
                               AND p.price_date BETWEEN s.first AND s.last
                             LIMIT s.count + 1) stored) AS is_interrupted
            FROM (SELECT security_id, min(price_date) AS first, max(price_date) AS last,
                         count(*) AS count
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

REVOKE ALL ON FUNCTION on_prices_inserted FROM PUBLIC;
