-- Record the correction that deleted prices are.
--
-- The quotation currencies stay: a security_quote_currencies row says "was ever quoted in". A
-- currency too many only makes the reach of a rate wider.
CREATE OR REPLACE FUNCTION on_prices_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM record_price_correction(array_agg(security_id), array_agg(price_date))
    FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_prices_deleted FROM PUBLIC;
