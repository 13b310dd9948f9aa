-- Keep the prices that a load adds, replaces or removes, so that the load can be taken back.
--
-- A load turns this on for its transaction (engine/correct/loads/recorded.py). What is kept belongs
-- to the moment of the transaction, which no writer can choose: nobody can add to the load of
-- another.
--
-- Many prices are one row, with an array per column. As a row per price they would take as much
-- time and space as the prices themselves. Where a statement has many prices of a security, as in a
-- history, their row is of it alone; of all others a thousand are one row.
CREATE OR REPLACE FUNCTION keep_replaced_prices() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        WITH of_security AS MATERIALIZED (
            SELECT security_id, currency, quote_basis, array_agg(price_date) AS dates,
                   array_agg(price) AS prices
            FROM old_rows
            GROUP BY security_id, currency, quote_basis
        )
        INSERT INTO replaced_prices
            (moment_id, is_new, security_ids, dates, prices, currencies, quote_bases)
        SELECT (SELECT current_moment()), false, ARRAY[security_id], dates, prices,
               ARRAY[currency], ARRAY[quote_basis]
        FROM of_security
        WHERE cardinality(dates) >= 20
        UNION ALL
        SELECT (SELECT current_moment()), false, array_agg(security_id), array_agg(price_date),
               array_agg(price), array_agg(currency), array_agg(quote_basis)
        FROM (SELECT s.security_id, u.price_date, u.price, s.currency, s.quote_basis,
                     (row_number() OVER () - 1) / 1000 AS run
              FROM of_security s
              CROSS JOIN LATERAL unnest(s.dates, s.prices) AS u (price_date, price)
              WHERE cardinality(s.dates) < 20) others
        GROUP BY run;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        WITH of_security AS MATERIALIZED (
            SELECT security_id, currency, quote_basis, array_agg(price_date) AS dates,
                   array_agg(price) AS prices
            FROM new_rows
            GROUP BY security_id, currency, quote_basis
        )
        INSERT INTO replaced_prices
            (moment_id, is_new, security_ids, dates, prices, currencies, quote_bases)
        SELECT (SELECT current_moment()), true, ARRAY[security_id], dates, prices,
               ARRAY[currency], ARRAY[quote_basis]
        FROM of_security
        WHERE cardinality(dates) >= 20
        UNION ALL
        SELECT (SELECT current_moment()), true, array_agg(security_id), array_agg(price_date),
               array_agg(price), array_agg(currency), array_agg(quote_basis)
        FROM (SELECT s.security_id, u.price_date, u.price, s.currency, s.quote_basis,
                     (row_number() OVER () - 1) / 1000 AS run
              FROM of_security s
              CROSS JOIN LATERAL unnest(s.dates, s.prices) AS u (price_date, price)
              WHERE cardinality(s.dates) < 20) others
        GROUP BY run;
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION keep_replaced_prices FROM PUBLIC;
