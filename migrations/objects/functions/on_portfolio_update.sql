-- Refuse another base currency or calendar for a portfolio that has positions.
--
-- The position records state their cost basis in the old base currency, their dates are business
-- dates of the old calendar, and position_state keeps the numbers of both. A concurrent transaction
-- that inserts the first position holds a lock on the portfolio (check_position_numbers); one with
-- an older snapshot would not see the position even after that.
CREATE OR REPLACE FUNCTION on_portfolio_update() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.base_currency, NEW.calendar_id)
           IS NOT DISTINCT FROM (OLD.base_currency, OLD.calendar_id) THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM position_state WHERE portfolio_id = OLD.portfolio_id) THEN
        RAISE EXCEPTION
            'base currency and calendar of portfolio % cannot change: it has positions',
            OLD.portfolio_id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Load the portfolio under a new portfolio_id.';
    END IF;
    IF NOT sees_committed_writes() THEN
        RAISE EXCEPTION
            'base currency and calendar of portfolio % can change only in a transaction that reads '
            'committed data', OLD.portfolio_id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Use the isolation level READ COMMITTED.';
    END IF;
    RETURN NULL;
END $$;
