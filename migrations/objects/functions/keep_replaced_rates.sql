-- Keep the FX rates that a load adds, replaces or removes, as keep_replaced_prices keeps prices.
CREATE OR REPLACE FUNCTION keep_replaced_rates() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO replaced_rates (moment_id, is_new, bases, quotes, dates, rates)
        SELECT (SELECT current_moment()), false, array_agg(base_currency),
               array_agg(quote_currency), array_agg(rate_date), array_agg(rate)
        FROM (SELECT *, (row_number() OVER () - 1) / 1000 AS run FROM old_rows) numbered
        GROUP BY run;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO replaced_rates (moment_id, is_new, bases, quotes, dates, rates)
        SELECT (SELECT current_moment()), true, array_agg(base_currency),
               array_agg(quote_currency), array_agg(rate_date), array_agg(rate)
        FROM (SELECT *, (row_number() OVER () - 1) / 1000 AS run FROM new_rows) numbered
        GROUP BY run;
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION keep_replaced_rates FROM PUBLIC;
