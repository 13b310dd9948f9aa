-- Return the moment of this transaction; insert it at the first call.
--
-- A moment is one row per transaction that changes what readers see. The setting
-- `revalue.moment` is local to the transaction, so later calls find the row's id without a read.
CREATE OR REPLACE FUNCTION current_moment() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    own text := current_setting('revalue.moment', true);
BEGIN
    IF own IS NULL OR own = '' THEN
        INSERT INTO moments DEFAULT VALUES RETURNING moment_id::text INTO own;
        PERFORM set_config('revalue.moment', own, true);
    END IF;
    RETURN own::bigint;
END $$;
