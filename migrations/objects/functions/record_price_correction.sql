-- Insert one PRICE trigger per security for the given runs of changed prices, with the dates they
-- affect.
--
-- A run is one changed price, or several between which no unchanged price is stored. A price of
-- date d is carried forward until the day before the next stored price, so the reach of a run goes
-- from its first date to the price after its last one.
--
-- The lock on the instrument serialises the writers of one security: each must see the dates of the
-- others to know where its reach ends. A writer with an older snapshot cannot see them even then,
-- so its reach is open-ended. A run is found before the lock: if another writer has inserted a
-- price into it since, the reach has the dates of that price too.
CREATE OR REPLACE FUNCTION record_price_correction(
    securities text[], firsts date[], lasts date[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    sees_all constant boolean := sees_committed_writes();
BEGIN
    PERFORM 1 FROM instruments
    WHERE security_id = ANY (securities)
    ORDER BY security_id FOR NO KEY UPDATE;
    INSERT INTO reprocessing_triggers (kind, security_id, moment_id, dates)
    SELECT 'PRICE', r.security_id, (SELECT current_moment()),
           range_agg(daterange(
               r.first,
               CASE WHEN sees_all
                    THEN (SELECT min(p.price_date) FROM market_prices p
                          WHERE p.security_id = r.security_id AND p.price_date > r.last) END))
    FROM unnest(securities, firsts, lasts) AS r (security_id, first, last)
    GROUP BY r.security_id
    ORDER BY r.security_id;
    NOTIFY revalue_wake;
END $$;

REVOKE ALL ON FUNCTION record_price_correction FROM PUBLIC;
