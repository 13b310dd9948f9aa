-- Refuse TRUNCATE on a table whose rows are inputs of valuations.
--
-- TRUNCATE shows a database trigger no rows, so it would change inputs without a correction.
CREATE OR REPLACE FUNCTION refuse_truncate() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE of % would remove data without a correction', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'Use DELETE: it records which dates are affected.';
END $$;
