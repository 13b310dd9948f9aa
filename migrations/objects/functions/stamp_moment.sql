-- Set the time of a new moment while its transaction commits.
--
-- The lock lets one transaction at a time stamp and commit. Therefore a reader that sees a moment
-- sees every earlier one, and "known at a time" is what a reader then saw. GREATEST: a moment is
-- never earlier than the one before it, even if the clock was set back.
--
-- The lock is a row that no role may lock, so that only a commit holds it. A writer that fires this
-- before its commit (SET CONSTRAINTS ... IMMEDIATE) would hold it for as long as it stays open, so
-- that is refused. It is known by the statement that runs, or by one that called it. So is PREPARE
-- TRANSACTION, after which the lock would be held until COMMIT PREPARED.
CREATE OR REPLACE FUNCTION stamp_moment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    calls text;
BEGIN
    GET DIAGNOSTICS calls = PG_CONTEXT;
    IF concat_ws(' ', left(current_query(), 10000), calls)
           ~* '\mset(\s|/\*.*?\*/|--[^\n]*\n)+constraints\M' THEN
        RAISE EXCEPTION
            'SET CONSTRAINTS cannot make the constraint moment_stamped immediate after a write'
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Name your own constraints instead of ALL, '
                         'or set them to immediate before the first write.';
    END IF;
    IF current_query() ~* '\mprepare\s+transaction\M' THEN
        RAISE EXCEPTION
            'a transaction that writes inputs of valuations cannot be prepared (two-phase commit)'
            USING ERRCODE = 'restrict_violation', HINT = 'Commit it in one phase.';
    END IF;
    PERFORM 1 FROM moment_lock FOR UPDATE;
    UPDATE moments
    SET at = GREATEST(
            clock_timestamp(), (SELECT max(at) FROM moments) + interval '1 microsecond'),
        xid = NULL
    WHERE moment_id = NEW.moment_id;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION stamp_moment FROM PUBLIC;
