-- Refuse an update that names a column which identifies a position or follows from its portfolio.
--
-- Jobs, histories and snapshots know a position by its id only, and nothing updates the numbers.
-- It runs once per statement: a database trigger before the update of each row would make every
-- update of the protocol lock its row first.
CREATE OR REPLACE FUNCTION refuse_renumbering() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION
        'portfolio_id, security_id, calendar_no and base_currency_no of a position cannot change'
        USING ERRCODE = 'restrict_violation',
              HINT = 'Close the position and load a new one.';
END $$;
