-- Return true if the past is kept at known_at (NULL: now is asked for). Raise an error if it lies
-- before the retention floor: what was shown then has been pruned, in part or as a whole.
--
-- The floor is read in the snapshot of the statement that asks. It is raised, and committed, before
-- anything is deleted: a statement that does not see the floor sees all that was deleted under it.
CREATE OR REPLACE FUNCTION require_retained(known_at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    kept_since timestamptz := (SELECT floor FROM retention);
BEGIN
    IF known_at < kept_since THEN
        RAISE EXCEPTION 'known_at % is before the retention floor %: what was shown then is pruned',
            known_at, kept_since
            USING ERRCODE = 'RV410', HINT = 'Ask for the floor or a later time.';
    END IF;
    RETURN true;
END $$;
