-- Record the quotation currencies of updated prices, and the correction that the updates are.
--
-- EXCEPT in both directions: an update that writes the same values is no correction, and one that
-- moves a price to another date or security changes the old place and the new one.
CREATE OR REPLACE FUNCTION on_prices_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO security_quote_currencies
    SELECT DISTINCT security_id, currency FROM new_rows ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    PERFORM record_price_correction(array_agg(security_id), array_agg(price_date))
    FROM (SELECT security_id, price_date FROM (TABLE old_rows EXCEPT TABLE new_rows) was
          UNION
          SELECT security_id, price_date FROM (TABLE new_rows EXCEPT TABLE old_rows) becomes)
         changed
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_prices_updated FROM PUBLIC;
