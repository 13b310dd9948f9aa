-- Insert an INSTRUMENT trigger when a field of an instrument changes that valuations use; refuse
-- another currency while the instrument has positions.
--
-- The position records state their cost basis in the old currency, so no revaluation would be
-- correct. The first position of the instrument may be inserted concurrently. That locks the
-- instrument's row (check_position_numbers), so the lock here makes this transaction see the
-- position, or makes the other one wait. A transaction with an older snapshot does not see it even
-- then.
--
-- The other fields affect all dates of the instrument's positions.
CREATE OR REPLACE FUNCTION on_instrument_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NEW.currency <> OLD.currency THEN
        IF NOT sees_committed_writes() THEN
            RAISE EXCEPTION
                'currency of security % can change only in a transaction that reads committed data',
                OLD.security_id
                USING ERRCODE = 'restrict_violation',
                      HINT = 'Use the isolation level READ COMMITTED.';
        END IF;
        PERFORM 1 FROM instruments WHERE security_id = NEW.security_id FOR UPDATE;
        IF EXISTS (SELECT FROM position_state WHERE security_id = OLD.security_id) THEN
            RAISE EXCEPTION
                'currency of security % cannot change to %: its positions state their cost basis '
                'in %', OLD.security_id, NEW.currency, OLD.currency
                USING ERRCODE = 'restrict_violation',
                      HINT = 'Load the instrument under a new security_id.';
        END IF;
    END IF;
    IF (NEW.currency, NEW.max_price_age_sessions)
           IS DISTINCT FROM (OLD.currency, OLD.max_price_age_sessions)
       OR NEW.contract_multiplier IS DISTINCT FROM OLD.contract_multiplier THEN
        INSERT INTO reprocessing_triggers (kind, security_id, dates)
        VALUES ('INSTRUMENT', NEW.security_id, '{(,)}');
        NOTIFY revalue_wake;
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION on_instrument_update FROM PUBLIC;
