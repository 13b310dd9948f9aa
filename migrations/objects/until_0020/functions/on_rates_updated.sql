-- Record the correction that updated FX rates are.
--
-- EXCEPT in both directions: an update that writes the same values is no correction, and one that
-- moves a rate to another date or pair changes the old place and the new one.
CREATE OR REPLACE FUNCTION on_rates_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM record_fx_correction(
        array_agg(base_currency), array_agg(quote_currency), array_agg(rate_date))
    FROM (SELECT base_currency, quote_currency, rate_date
          FROM (TABLE old_rows EXCEPT TABLE new_rows) was
          UNION
          SELECT base_currency, quote_currency, rate_date
          FROM (TABLE new_rows EXCEPT TABLE old_rows) becomes) changed
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_rates_updated FROM PUBLIC;
