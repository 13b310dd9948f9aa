-- Raise the revision of each calendar whose business dates changed.
--
-- Stage decides which dates are due by the business dates that it scanned. A date that was inserted
-- since could lie just outside of the scan, and the frontier would pass over it. Stage therefore
-- compares the revision before it writes.
CREATE OR REPLACE FUNCTION revise_calendars() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- An older snapshot does not show the frontiers that have reached the dates since.
    IF TG_OP <> 'INSERT' AND NOT sees_committed_writes() AND EXISTS (SELECT FROM changed) THEN
        RAISE EXCEPTION
            'business dates can be closed again only in a transaction that reads committed data'
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Use the isolation level READ COMMITTED.';
    END IF;
    PERFORM 1 FROM calendars WHERE calendar_id IN (SELECT calendar_id FROM changed)
    ORDER BY calendar_id FOR NO KEY UPDATE;
    UPDATE calendars SET revision = revision + 1
    WHERE calendar_id IN (SELECT calendar_id FROM changed);
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION revise_calendars FROM PUBLIC;
