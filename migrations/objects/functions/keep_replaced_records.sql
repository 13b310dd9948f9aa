-- Keep the position records that a load begins or ends, as keep_replaced_prices keeps prices.
--
-- A record that ends is updated, or deleted if it began in the same epoch; one that begins is
-- inserted. So a record that is replaced by another one of its date is kept twice: as it was, and
-- as the load left it.
CREATE OR REPLACE FUNCTION keep_replaced_records() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO replaced_records
            (moment_id, is_new, position_ids, dates, quantities, costs_local, costs)
        SELECT (SELECT current_moment()), true, array_agg(position_id), array_agg(position_date),
               array_agg(quantity), array_agg(cost_basis_local), array_agg(cost_basis)
        FROM (SELECT *, (row_number() OVER () - 1) / 1000 AS run FROM new_rows) numbered
        GROUP BY run;
    ELSE
        INSERT INTO replaced_records
            (moment_id, is_new, position_ids, dates, quantities, costs_local, costs)
        SELECT (SELECT current_moment()), false, array_agg(position_id), array_agg(position_date),
               array_agg(quantity), array_agg(cost_basis_local), array_agg(cost_basis)
        FROM (SELECT *, (row_number() OVER () - 1) / 1000 AS run FROM old_rows) numbered
        GROUP BY run;
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION keep_replaced_records FROM PUBLIC;
