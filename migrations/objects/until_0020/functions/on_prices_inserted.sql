-- Record the quotation currencies of inserted prices, and the correction that the prices are.
--
-- Ordered rows: two writers that insert the same pairs wait for each other and do not deadlock.
CREATE OR REPLACE FUNCTION on_prices_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO security_quote_currencies
    SELECT DISTINCT security_id, currency FROM changed ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    PERFORM record_price_correction(array_agg(security_id), array_agg(price_date))
    FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_prices_inserted FROM PUBLIC;
