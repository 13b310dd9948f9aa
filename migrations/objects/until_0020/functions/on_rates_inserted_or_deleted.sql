-- Record the correction that inserted or deleted FX rates are.
--
-- One function for both: an added rate and a removed rate affect the same dates.
CREATE OR REPLACE FUNCTION on_rates_inserted_or_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM record_fx_correction(
        array_agg(base_currency), array_agg(quote_currency), array_agg(rate_date))
    FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_rates_inserted_or_deleted FROM PUBLIC;
