-- Record the correction that inserted or deleted FX rates are.
--
-- One function for both: an added rate and a removed rate affect the same dates. In runs and
-- batches of whole currency pairs, like prices (on_prices_inserted). Rates are a run if as many are
-- stored between its ends as were inserted, or none if they were deleted.
CREATE OR REPLACE FUNCTION on_rates_inserted_or_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET enable_nestloop = off AS $$
DECLARE
    batch record;
BEGIN
    FOR batch IN
        WITH span AS MATERIALIZED (
            SELECT s.base_currency, s.quote_currency, s.first, s.last,
                   s.count > 1
                   AND CASE WHEN TG_OP = 'INSERT' THEN s.count ELSE 0 END <> (
                       SELECT count(*)
                       FROM (SELECT FROM fx_rates r
                             WHERE r.base_currency = s.base_currency
                               AND r.quote_currency = s.quote_currency
                               AND r.rate_date BETWEEN s.first AND s.last
                             LIMIT s.count + 1) stored) AS is_interrupted
            FROM (SELECT base_currency, quote_currency, min(rate_date) AS first,
                         max(rate_date) AS last, count(*) AS count
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

REVOKE ALL ON FUNCTION on_rates_inserted_or_deleted FROM PUBLIC;
