-- Return the moment of this transaction; insert it at the first call.
--
-- A moment is one row per transaction that changes what readers see. It is found by the id of the
-- transaction, which no writer can choose; a moment loses it when it is stamped. A moment of a
-- savepoint that was rolled back is gone, and the next call inserts another one.
--
-- The stamp is deferred again, in case that this transaction has set all constraints to immediate:
-- it would then hold the lock of stamp_moment until it ends.
CREATE OR REPLACE FUNCTION current_moment() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    own bigint := (SELECT moment_id FROM moments WHERE xid = pg_current_xact_id());
BEGIN
    IF own IS NULL THEN
        SET CONSTRAINTS moment_stamped DEFERRED;
        INSERT INTO moments (xid) VALUES (pg_current_xact_id()) RETURNING moment_id INTO own;
    END IF;
    RETURN own;
END $$;
