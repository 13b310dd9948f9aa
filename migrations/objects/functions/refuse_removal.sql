-- Refuse to remove, or to give another id, a portfolio or an instrument that has positions, or a
-- position that has records.
--
-- In place of foreign keys (check_position_numbers, check_record_positions). A concurrent
-- transaction that inserts what would refer to the row has locked it, so this one has waited and
-- sees it; one with an older snapshot would not see it even then.
CREATE OR REPLACE FUNCTION refuse_removal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    what text;
    is_used boolean;
BEGIN
    IF TG_TABLE_NAME = 'portfolios' THEN
        what := 'portfolio ' || OLD.portfolio_id;
        is_used := EXISTS (SELECT FROM position_state WHERE portfolio_id = OLD.portfolio_id);
    ELSIF TG_TABLE_NAME = 'instruments' THEN
        what := 'instrument ' || OLD.security_id;
        is_used := EXISTS (SELECT FROM position_state WHERE security_id = OLD.security_id);
    ELSE
        what := 'position ' || OLD.position_id;
        is_used := EXISTS (SELECT FROM position_history WHERE position_id = OLD.position_id);
    END IF;
    IF is_used THEN
        RAISE EXCEPTION '% cannot be removed: it has %', what,
            CASE TG_TABLE_NAME WHEN 'position_state' THEN 'records' ELSE 'positions' END
            USING ERRCODE = 'foreign_key_violation',
                  HINT = 'What was held stays, as the audit trail. Close the position.';
    END IF;
    IF NOT sees_committed_writes() THEN
        RAISE EXCEPTION
            '% can be removed only in a transaction that reads committed data', what
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Use the isolation level READ COMMITTED.';
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION refuse_removal FROM PUBLIC;
