-- Set the time of a new moment while its transaction commits.
--
-- The lock lets one transaction at a time stamp and commit. Therefore a reader that sees a moment
-- sees every earlier one, and "known at a time" is what a reader then saw. GREATEST: a moment is
-- never earlier than the one before it, even if the clock was set back.
CREATE OR REPLACE FUNCTION stamp_moment() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7263548203);
    UPDATE moments
    SET at = GREATEST(
        clock_timestamp(), (SELECT max(at) FROM moments) + interval '1 microsecond')
    WHERE moment_id = NEW.moment_id;
    RETURN NULL;
END $$;
