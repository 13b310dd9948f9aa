-- Record the correction that updated FX rates are, in runs and batches like inserted ones
-- (on_rates_inserted_or_deleted).
--
-- An update that writes the same values is no correction. One that moves a rate to another date or
-- pair changes the old place and the new one; such rates are never taken for a run.
CREATE OR REPLACE FUNCTION on_rates_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET enable_nestloop = off AS $$
DECLARE
    batch record;
BEGIN
    FOR batch IN
        WITH changed AS MATERIALIZED (
            SELECT base_currency, quote_currency, rate_date,
                   was.rate IS NULL OR becomes.rate IS NULL AS is_moved
            FROM old_rows was
            FULL JOIN new_rows becomes USING (base_currency, quote_currency, rate_date)
            WHERE was.rate IS DISTINCT FROM becomes.rate
        ), span AS MATERIALIZED (
            SELECT s.base_currency, s.quote_currency, s.first, s.last,
                   s.has_moved OR s.count > 1 AND s.count <> (
                       SELECT count(*)
                       FROM (SELECT FROM fx_rates r
                             WHERE r.base_currency = s.base_currency
                               AND r.quote_currency = s.quote_currency
                               AND r.rate_date BETWEEN s.first AND s.last
                             LIMIT s.count + 1) stored) AS is_interrupted
            FROM (SELECT base_currency, quote_currency, min(rate_date) AS first,
                         max(rate_date) AS last, count(*) AS count, bool_or(is_moved) AS has_moved
                  FROM changed
                  GROUP BY base_currency, quote_currency) s
        )
        SELECT array_agg(base_currency ORDER BY base_currency, quote_currency, first) AS bases,
               array_agg(quote_currency ORDER BY base_currency, quote_currency, first) AS quotes,
               array_agg(first ORDER BY base_currency, quote_currency, first) AS firsts,
               array_agg(last ORDER BY base_currency, quote_currency, first) AS lasts
        FROM (SELECT base_currency, quote_currency, first, last,
                     count(*) OVER (ORDER BY base_currency, quote_currency) / 20000 AS number
              FROM (SELECT base_currency, quote_currency, first, last
                    FROM span WHERE NOT is_interrupted
                    UNION ALL
                    SELECT c.base_currency, c.quote_currency, c.rate_date, c.rate_date
                    FROM changed c JOIN span s USING (base_currency, quote_currency)
                    WHERE s.is_interrupted) runs) numbered
        GROUP BY number
        ORDER BY number
    LOOP
        PERFORM record_fx_correction(batch.bases, batch.quotes, batch.firsts, batch.lasts);
    END LOOP;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_rates_updated FROM PUBLIC;
