-- Insert one FX trigger per currency pair for the given runs of changed rates, with the dates they
-- affect.
--
-- The pivot currency is kept with the trigger: which conversions a rate affects depends on it. The
-- lock makes a change of the policy wait for this transaction, or is a change that it sees.
-- The reach of a run is found like that of prices (record_price_correction). The lock on the
-- pair's row in currency_pairs serialises its writers; only this function inserts and locks these
-- rows. Both is done in the order of the pairs, so that two writers do not deadlock.
CREATE OR REPLACE FUNCTION record_fx_correction(
    bases text[], quotes text[], firsts date[], lasts date[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    sees_all constant boolean := sees_committed_writes();
    pivot text;
BEGIN
    INSERT INTO currency_pairs (base_currency, quote_currency)
    SELECT DISTINCT b, q FROM unnest(bases, quotes) AS u (b, q) ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM 1 FROM currency_pairs
    WHERE (base_currency, quote_currency) IN (
        SELECT DISTINCT b, q FROM unnest(bases, quotes) AS u (b, q))
    ORDER BY base_currency, quote_currency FOR NO KEY UPDATE;
    SELECT fx_pivot_currency INTO pivot FROM valuation_policy FOR SHARE;
    INSERT INTO reprocessing_triggers
        (kind, base_currency, quote_currency, pivot_currency, moment_id, dates)
    SELECT 'FX', r.base_currency, r.quote_currency, pivot, (SELECT current_moment()),
           range_agg(daterange(
               r.first,
               CASE WHEN sees_all
                    THEN (SELECT min(f.rate_date) FROM fx_rates f
                          WHERE f.base_currency = r.base_currency
                            AND f.quote_currency = r.quote_currency
                            AND f.rate_date > r.last) END))
    FROM unnest(bases, quotes, firsts, lasts) AS r (base_currency, quote_currency, first, last)
    GROUP BY r.base_currency, r.quote_currency
    ORDER BY r.base_currency, r.quote_currency;
    NOTIFY revalue_wake;
END $$;

REVOKE ALL ON FUNCTION record_fx_correction FROM PUBLIC;
