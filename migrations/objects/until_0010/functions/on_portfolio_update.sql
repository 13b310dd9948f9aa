-- Refuse another base currency or calendar for a portfolio that has positions.
--
-- The position records state their cost basis in the old base currency, their dates are business
-- dates of the old calendar, and position_state keeps the numbers of both
-- (check_position_numbers).
CREATE OR REPLACE FUNCTION on_portfolio_update() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.base_currency, NEW.calendar_id) IS DISTINCT FROM (OLD.base_currency, OLD.calendar_id)
       AND EXISTS (SELECT FROM position_state WHERE portfolio_id = OLD.portfolio_id) THEN
        RAISE EXCEPTION
            'base currency and calendar of portfolio % cannot change: it has positions',
            OLD.portfolio_id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Load the portfolio under a new portfolio_id.';
    END IF;
    RETURN NULL;
END $$;
