-- Insert one FX trigger per currency pair for the given changed rates, with the dates they affect.
--
-- The pivot currency is kept with the trigger: which conversions a rate affects depends on it. The
-- lock makes a change of the policy wait for this transaction, or is a change that it sees.
-- The reach of a rate is found like that of a price (record_price_correction). The lock on the
-- pair's row in currency_pairs serialises its writers; only this function inserts and locks these
-- rows. Both is done in the order of the pairs, so that two writers do not deadlock.
CREATE OR REPLACE FUNCTION record_fx_correction(bases text[], quotes text[], dates date[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    pivot text;
BEGIN
    IF cardinality(bases) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO currency_pairs (base_currency, quote_currency)
    SELECT DISTINCT b, q FROM unnest(bases, quotes) AS u (b, q) ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM 1 FROM currency_pairs
    WHERE (base_currency, quote_currency) IN (
        SELECT b, q FROM unnest(bases, quotes) AS u (b, q))
    ORDER BY base_currency, quote_currency FOR NO KEY UPDATE;
    SELECT fx_pivot_currency INTO pivot FROM valuation_policy FOR SHARE;
    WITH changed AS (
        SELECT c.base_currency, c.quote_currency, c.rate_date
        FROM unnest(bases, quotes, dates) AS c (base_currency, quote_currency, rate_date)
    ), span AS MATERIALIZED (
        SELECT c.base_currency, c.quote_currency,
               min(c.rate_date) AS first, max(c.rate_date) AS last
        FROM changed c GROUP BY 1, 2
    ), neighbours AS (
        SELECT base_currency, quote_currency, rate_date, bool_or(has_changed) AS has_changed
        FROM (SELECT base_currency, quote_currency, rate_date, true AS has_changed FROM changed
              UNION ALL
              SELECT r.base_currency, r.quote_currency, r.rate_date, false
              FROM span s JOIN fx_rates r USING (base_currency, quote_currency)
              WHERE r.rate_date > s.first AND r.rate_date < s.last) dates
        GROUP BY 1, 2, 3
    ), reaches AS (
        SELECT base_currency, quote_currency, rate_date, has_changed,
               lead(rate_date)
                   OVER (PARTITION BY base_currency, quote_currency ORDER BY rate_date) AS next
        FROM neighbours
    )
    INSERT INTO reprocessing_triggers
        (kind, base_currency, quote_currency, pivot_currency, moment_id, dates)
    SELECT 'FX', s.base_currency, s.quote_currency, pivot, (SELECT current_moment()),
           range_agg(daterange(
               r.rate_date,
               CASE WHEN sees_committed_writes()
                    THEN COALESCE(r.next, (SELECT min(f.rate_date) FROM fx_rates f
                                           WHERE f.base_currency = s.base_currency
                                             AND f.quote_currency = s.quote_currency
                                             AND f.rate_date > s.last)) END))
    FROM span s JOIN reaches r USING (base_currency, quote_currency)
    WHERE r.has_changed
    GROUP BY s.base_currency, s.quote_currency
    ORDER BY s.base_currency, s.quote_currency;
    NOTIFY revalue_wake;
END $$;

REVOKE ALL ON FUNCTION record_fx_correction FROM PUBLIC;
