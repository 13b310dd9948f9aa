-- Record the correction that deleted prices are, in runs and batches like inserted ones
-- (on_prices_inserted). The deleted prices are a run if no price is stored any more between them.
--
-- The quotation currencies stay: a security_quote_currencies row says "was ever quoted in". A
-- currency too many only makes the reach of a rate wider.
CREATE OR REPLACE FUNCTION on_prices_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET enable_nestloop = off AS $$
DECLARE
    batch record;
BEGIN
    FOR batch IN
        WITH span AS MATERIALIZED (
            SELECT s.security_id, s.first, s.last,
                   EXISTS (SELECT FROM market_prices p
                           WHERE p.security_id = s.security_id
                             AND p.price_date BETWEEN s.first AND s.last) AS is_interrupted
            FROM (SELECT security_id, min(price_date) AS first, max(price_date) AS last
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

REVOKE ALL ON FUNCTION on_prices_deleted FROM PUBLIC;
